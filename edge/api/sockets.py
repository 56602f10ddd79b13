"""Every WebSocket: what it takes and what it answers."""

from dataclasses import dataclass, replace

from edge.api import flux, frames, listening, speaking
from edge.api.fields import Field
from edge.api.frames import Message
from edge.api.rest import Group
from edge.doors import waves_routes
from edge.settings import EdgeSettings

# What a closing frame from here may say.
CLOSE_CODES = {
    1000: "Done: the last message was sent.",
    1001: "The client went away, or did not read what was sent.",
    1002: "The client broke the WebSocket protocol.",
    1003: "The audio cannot be decoded.",
    1007: "A text frame is not UTF-8.",
    1008: "A message or the audio was refused, a limit of the licence was reached, or the key ended.",
    1009: "A frame or the audio is too large.",
    1011: "No message for too long, or an error of the server.",
    1013: "No worker is free or there; try again later.",
}


@dataclass(frozen=True, slots=True)
class Socket:
    """One path that upgrades.

    Attributes:
        path: as the router has it.
        groups: whose clients use it.
        summary: one line.
        query: parameters of the connect.
        receives: what the client sends.
        sends: what the server sends.
        open: the key may come in the first messages.
    """

    path: str
    groups: tuple[Group, ...]
    summary: str
    query: tuple[Field, ...]
    receives: tuple[Message, ...]
    sends: tuple[Message, ...]
    open: bool = False


def _pulse(path: str, group: Group, query: tuple[Field, ...]) -> Socket:
    return Socket(path, (group,), "Live audio to text", query, frames.PULSE_IN, frames.PULSE_OUT)


def _waves_speak(path: str, group: Group) -> Socket:
    query, spoken = speaking.WAVES_LIVE, "Text to speech while the text is written"
    return Socket(path, (group,), spoken, query, frames.WAVES_SPEAK_IN, frames.WAVES_SPEAK_OUT)


def _waves(prefix: str) -> list[Socket]:
    group = Group.WAVES
    return [
        _pulse(f"{prefix}/stt/live", group, listening.STT_LIVE),
        *(
            _pulse(f"{prefix}/{model}/get_text", group, listening.PULSE_LIVE)
            for model in ("pulse", "lightning")
        ),
        _waves_speak(f"{prefix}/tts/live", group),
        *(_waves_speak(f"{prefix}/{model}/get_speech/stream", group) for model in waves_routes.SPEAK_MODELS),
    ]


_TWILIO_PATH = EdgeSettings.model_fields["twilio_path"].default
SOCKETS = (
    Socket(
        "/v1/listen",
        (Group.DEEPGRAM,),
        "Live audio to text",
        listening.DEEPGRAM_LIVE,
        frames.DEEPGRAM_IN,
        frames.DEEPGRAM_OUT,
    ),
    Socket(
        "/v2/listen",
        (Group.DEEPGRAM,),
        "Live audio to the turns of a conversation (Flux)",
        listening.FLUX_LIVE,
        flux.RECEIVES,
        flux.SENDS,
    ),
    _pulse("/v1/listen/stream", Group.SMALLEST, listening.PULSE_LIVE),
    _pulse("/transcribe", Group.SMALLEST, listening.PULSE_LIVE),
    Socket(
        "/v1/speak",
        (Group.DEEPGRAM,),
        "Text to speech while the text is written",
        speaking.DEEPGRAM_LIVE,
        frames.DEEPGRAM_SPEAK_IN,
        frames.DEEPGRAM_SPEAK_OUT,
    ),
    _waves_speak("/v1/speak/stream", Group.SMALLEST),
    Socket(
        "/v1/realtime",
        (Group.OPENAI,),
        "Live audio to text",
        listening.REALTIME,
        frames.REALTIME_IN,
        frames.REALTIME_OUT,
    ),
    Socket(
        _TWILIO_PATH,
        (Group.TWILIO,),
        "A telephone call to text",
        listening.TWILIO,
        frames.TWILIO_IN,
        frames.TWILIO_OUT,
        open=True,
    ),
    *_waves("/waves/v1"),
    *_waves("/api/v1"),
)


def sockets_with(twilio_path: str) -> tuple[Socket, ...]:
    """The same where telephone calls come to a path of the installation's own."""
    return tuple(replace(one, path=twilio_path) if one.path == _TWILIO_PATH else one for one in SOCKETS)
