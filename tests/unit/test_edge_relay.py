"""What the relay writes for every chunk."""

import pytest

from common.pb.voxmesh.asr.v1 import RecognizeRequest
from edge.listening.relay import _audio_request


@pytest.mark.parametrize("size", [1, 2, 127, 128, 3_200, 16_383, 16_384, 512 * 1024])
def test_audio_is_the_message_that_the_contract_says(size: int) -> None:
    pcm = bytes(range(256)) * (size // 256 + 1)
    pcm = pcm[:size]
    joined = _audio_request([pcm[: size // 2], pcm[size // 2 :]], size)
    assert bytes(joined) == bytes(RecognizeRequest(audio=pcm))
