"""Kokoro, a voice of 82 M parameters that shares its weights between speakers.

The model of hexgrad's Kokoro-82M: StyleTTS 2 (Li et al. 2023, "StyleTTS 2: Towards Human-Level Text-to-Speech through
Style Diffusion and Adversarial Training with Large Speech Language Models") without its diffusion, with the decoder of
iSTFTNet (Kaneko et al. 2022). A speaker is a table of style vectors, one for each length of text.
"""
