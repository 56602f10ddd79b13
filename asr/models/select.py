"""From logits to candidate tokens: greedy, sampled or the best few."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True)
class Ask:
    """What one row of logits is asked for."""

    best: int = 1  # candidates; 1 is greedy (or one sample)
    temperature: float = 0.0
    banned: tuple[int, ...] = ()  # tokens that may not come here
    bias: dict[int, float] = field(default_factory=dict)  # added to the logits of these tokens
    watched: int | None = (
        None  # token whose log probability is wanted beside the candidates (a forced or guessed one)
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """Answer to an Ask: best candidate first; natural-log probabilities."""

    tokens: list[int]
    logprobs: list[float]
    watched_logprob: float = 0.0


@torch.inference_mode()
def choose(logits: torch.Tensor, asks: Sequence[Ask], generator: torch.Generator) -> list[Choice]:
    """logits [rows, text vocabulary + end token] float32 (changed in place) -> one Choice per row."""
    for row, ask in enumerate(asks):
        if ask.banned:
            logits[row, list(ask.banned)] = -1e4
        if ask.bias:
            ids = torch.tensor(list(ask.bias), device=logits.device)
            logits[row, ids] += torch.tensor(list(ask.bias.values()), device=logits.device)
    totals = torch.logsumexp(logits, dim=-1).tolist()
    watched = [0.0] * len(asks)
    for row, ask in enumerate(asks):
        if ask.watched is not None:
            watched[row] = float(logits[row, ask.watched]) - totals[row]
    if all(ask.best == 1 and ask.temperature == 0 for ask in asks):
        tokens, values = _largest(logits)
        return [
            Choice([token], [value - total], seen)
            for token, value, total, seen in zip(tokens, values, totals, watched, strict=True)
        ]
    return [
        _choose_row(logits[row], ask, totals[row], watched[row], generator) for row, ask in enumerate(asks)
    ]


def _largest(logits: torch.Tensor) -> tuple[list[int], list[float]]:
    if logits.device.type == "cpu":  # numpy searches a row several times faster
        rows = logits.numpy()
        tokens = rows.argmax(axis=-1).tolist()
        return tokens, [float(row[token]) for row, token in zip(rows, tokens, strict=True)]
    values, indices = logits.max(dim=-1)
    return indices.tolist(), values.tolist()


def _choose_row(
    logits: torch.Tensor, ask: Ask, total: float, watched: float, generator: torch.Generator
) -> Choice:
    if ask.temperature > 0:
        odds = torch.softmax(logits / ask.temperature, dim=-1)
        tokens = torch.multinomial(odds, ask.best, generator=generator)
        values = logits[tokens]
    else:
        values, tokens = logits.topk(ask.best)
    return Choice(tokens.tolist(), (values - total).tolist(), watched)


def language_odds(logits: torch.Tensor, ids: Sequence[int]) -> list[float]:
    """Probability of each language token, given the logits [vocabulary] that follow the start token."""
    odds: list[float] = torch.softmax(logits[list(ids)], dim=-1).tolist()
    return odds


def probability(logits: torch.Tensor, token: int) -> float:
    """Probability of one token under logits [vocabulary]."""
    return float(torch.softmax(logits, dim=-1)[token])
