"""Transcribes a recording and speaks a sentence over gRPC, from the .proto files alone.

    pip install grpcio grpcio-tools && mkdir -p build/stubs
    python -m grpc_tools.protoc -I proto --python_out=build/stubs --grpc_python_out=build/stubs \\
        proto/voxmesh/audio/v1/audio.proto proto/voxmesh/asr/v1/asr.proto proto/voxmesh/tts/v1/tts.proto
    PYTHONPATH=build/stubs python examples/grpc_client.py tests/data/clips/fox.flac

Reads VOXMESH_KEY and VOXMESH_GRPC (default 127.0.0.1:7200).
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
from voxmesh.asr.v1 import asr_pb2, asr_pb2_grpc
from voxmesh.audio.v1 import audio_pb2
from voxmesh.tts.v1 import tts_pb2, tts_pb2_grpc

CHUNK_BYTES = 64 * 1024


def recognise(path: Path) -> Iterator[asr_pb2.RecognizeRequest]:
    """The file as it is: the service reads the container. Ending the iterator ends the audio."""
    yield asr_pb2.RecognizeRequest(
        config=asr_pb2.RecognizeConfig(mode=asr_pb2.MODE_BATCH, language="en", word_times=True)
    )
    audio = path.read_bytes()
    for begin in range(0, len(audio), CHUNK_BYTES):
        yield asr_pb2.RecognizeRequest(audio=audio[begin : begin + CHUNK_BYTES])


def speak(text: str) -> Iterator[tts_pb2.SynthesizeRequest]:
    wav = audio_pb2.AudioFormat(encoding=audio_pb2.ENCODING_WAV)
    yield tts_pb2.SynthesizeRequest(config=tts_pb2.SynthesizeConfig(format=wav))
    yield tts_pb2.SynthesizeRequest(text=text)


def main() -> int:
    credentials = [("authorization", f"Bearer {os.environ.get('VOXMESH_KEY', '')}")]
    with grpc.insecure_channel(os.environ.get("VOXMESH_GRPC", "127.0.0.1:7200")) as channel:
        try:
            asr = asr_pb2_grpc.AsrServiceStub(channel)
            for response in asr.Recognize(recognise(Path(sys.argv[1])), metadata=credentials):
                if response.WhichOneof("event") == "result":
                    print(response.result.text)
            tts = tts_pb2_grpc.TtsServiceStub(channel)
            with Path("spoken.wav").open("wb") as out:
                for response in tts.Synthesize(speak("Hello from Python."), metadata=credentials):
                    out.write(response.audio)
        except grpc.RpcError as error:
            print(error.code().name, error.details(), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
