"""Parameters of recognition, dialect by dialect."""

from common.codec.wav import MAX_RATE_HZ, MIN_RATE_HZ
from edge.api.fields import Field, decimal, flag, one_of, text, texts, unused, whole
from edge.dialects import callbacks, deepgram, deepgram_flux, openai, smallest, twilio, waves
from edge.finish.options import MAX_PHRASES, MAX_TERMS, REDACT
from edge.formats import INPUT_ENCODINGS, MAX_CHANNELS

_LANGUAGE_PATTERN = "^(multi(-.+)?|auto|[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*)$"
LANGUAGE = text(
    "language",
    'Language of the speech ("en", "de-CH"). Left out, "multi" or "auto": detected.',
    max_chars=100,
    pattern=_LANGUAGE_PATTERN,
)
MODEL = text(
    "model", "A checkpoint of GET /v1/models. Names of other vendors' models mean: choose one.", max_chars=200
)
CHANNELS = whole("channels", "Channels of headerless audio.", 1, MAX_CHANNELS, 1)
KEYTERMS = (
    texts(
        "keywords",
        'Words to favour, as "word:boost"; several with commas.',
        max_items=smallest.MAX_KEYTERMS,
    ),
    texts("keyterm", "Words or phrases to favour.", max_items=smallest.MAX_KEYTERMS),
)
PROFANITY = flag("profanity_filter", "Profane words keep their first letter only.")
DIARIZE = flag("diarize", "Tell speakers apart.")
# What is done to finals before a client sees them.
FINISH = (
    Field(
        "redact",
        "Write [KIND_1] for entities of these kinds.",
        {"type": "array", "items": {"type": "string", "enum": list(REDACT)}, "maxItems": MAX_TERMS},
    ),
    flag("redact_pii", "Redact phone numbers, e-mail addresses and the like."),
    flag("redact_pci", "Redact card numbers, their codes and dates."),
    texts("replace", '"phrase:replacement"; several with commas.', max_items=MAX_TERMS),
    texts("search", "Phrases to find; Deepgram's answer lists the hits.", max_items=MAX_PHRASES),
    Field("numerals", "Write numbers as digits.", {"enum": ["auto", "true", "false"], "default": "auto"}),
    flag("itn_normalize", "Write numbers as digits."),
    flag("smart_format", "Write numbers as digits."),
)
# An answer later, at a url of the client; each vendor's own names.
CALLBACKS = (
    text("callback_url", "Where the answer goes later; signed.", max_chars=callbacks.MAX_URL_CHARS),
    text("callback", "The same, as Deepgram's clients ask.", max_chars=callbacks.MAX_URL_CHARS),
    one_of("callback_method", "How it is sent.", ("post", "put"), "post"),
    text("webhook_url", "The same, as Waves clients ask.", max_chars=callbacks.MAX_URL_CHARS),
    one_of("webhook_method", "How it is sent.", callbacks.METHODS, "post"),
    text("webhook_extra", 'Comes back in `webhook_extra`: "key:value,key:value".'),
)


def _encoding(default: str) -> Field:
    about = "Format of headerless audio; a container's own header wins."
    return one_of("encoding", about, INPUT_ENCODINGS, default)


def _rate(default: int) -> Field:
    return whole("sample_rate", "Hz of headerless audio.", MIN_RATE_HZ, MAX_RATE_HZ, default)


PUNCTUATE = flag("punctuate", "Write punctuation.", True)
CAPITALIZE = flag("capitalize", "Write capital letters.", True)

_RECORDED = (
    LANGUAGE,
    MODEL,
    PUNCTUATE,
    CAPITALIZE,
    DIARIZE,
    whole("num_speakers", "Number of speakers when it is known; tells them apart.", 0, smallest.MAX_SPEAKERS),
    *KEYTERMS,
    text("prompt", "Text that comes before the audio, as context for spelling.", max_chars=4_000),
    flag("multichannel", "Recognise each channel on its own."),
    PROFANITY,
    _encoding("container"),
    _rate(16_000),
    CHANNELS,
    *FINISH,
    *CALLBACKS,
)

# POST /v1/listen: what Smallest and Deepgram clients send.
LISTEN = (
    *_RECORDED,
    flag("detect_language", "Detect the language, whatever `language` says."),
    flag("timestamps", "Add `words` with times."),
    flag("paragraphs", "Add paragraphs."),
    flag("utterances", "Add utterances."),
    decimal(
        "utt_split", "Seconds of silence between utterances.", 0, deepgram.MAX_PAUSE_S, deepgram.DEFAULT_PAUSE_S
    ),
    texts("tag", "Echoed in `metadata.tags`."),
    *(
        Field(name, "Not available here; named in `metadata.warnings`.", {})
        for name in deepgram.UNSUPPORTED
    ),
    *unused(
        "filler_words", "diarize_model", "language_hint", "extra", "version", "mip_opt_out",
    ),
)  # fmt: skip

# POST of the Waves dialects.
WAVES_LISTEN = (
    *_RECORDED,
    flag("word_timestamps", "Fill `words` and `utterances`."),
    flag("format", "`false` writes neither punctuation nor capital letters.", True),
    *(flag(name, "Not available here; named in `warnings`.") for name in waves.UNSUPPORTED),
)
WAVES_STT = tuple(
    one_of("model", "Which family of models.", waves.STT_MODELS).needed()
    if one.name == "model"
    else one.needed()
    if one.name == "language"
    else one
    for one in WAVES_LISTEN
)

_OPENAI_MODEL = text("model", "A checkpoint, or any name such as whisper-1.", minLength=1).needed()
_OPENAI_SHAPE = one_of("response_format", "Shape of the answer.", openai.TRANSCRIPT_FORMATS, "json")
_OPENAI_PROMPT = text("prompt", "Text that comes before the audio.", max_chars=16_000)
_TEMPERATURE = decimal("temperature", "Sampling temperature; 0 is the most likely text.", 0, 1, 0)

# Multipart fields of POST /v1/audio/transcriptions.
TRANSCRIPTIONS = (
    _OPENAI_MODEL,
    LANGUAGE,
    _OPENAI_PROMPT,
    _OPENAI_SHAPE,
    _TEMPERATURE,
    flag("stream", "Answer with events while the recording is recognised; whisper-1 never does."),
    Field(
        "timestamp_granularities",
        "What verbose_json holds; the name may end in [].",
        {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}, "maxItems": 4},
    ),
    texts("keywords", "Words to favour; the name may end in []."),
    *unused("include", "chunking_strategy", "known_speaker_names", "known_speaker_references"),
)
TRANSLATIONS = (
    _OPENAI_MODEL,
    _OPENAI_PROMPT,
    _OPENAI_SHAPE,
    _TEMPERATURE,
    next(one for one in TRANSCRIPTIONS if one.name == "timestamp_granularities"),
)

# The live sockets.
_INTERIM = "Send text that may still change."


def _session_id(pattern: str) -> Field:
    about = "Of a stream that broke off less than a minute ago: this one goes on with it."
    return text("session_id", about, max_chars=128, pattern=pattern)


_REQUEST_ID = "^[A-Za-z0-9_.:-]{1,128}$"
DEEPGRAM_LIVE = (
    MODEL,
    LANGUAGE,
    flag("detect_language", "Detect the language, whatever `language` says."),
    _encoding("container"),
    _rate(16_000),
    CHANNELS,
    flag("multichannel", "Recognise each channel on its own."),
    flag("interim_results", _INTERIM),
    Field(
        "endpointing",
        "Milliseconds of silence that end an utterance, or `false`. Fewer than 200 count as 200.",
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 60_000}, {"type": "boolean"}]},
    ),
    whole("utterance_end_ms", "Send UtteranceEnd after this silence.", 100, 30_000),
    flag("vad_events", "Send SpeechStarted."),
    PUNCTUATE,
    DIARIZE,
    PROFANITY,
    *KEYTERMS,
    *FINISH,
    _session_id(_REQUEST_ID),
    text(
        "callback", "Where the messages go instead of the socket; signed.", max_chars=callbacks.MAX_URL_CHARS
    ),
    next(one for one in CALLBACKS if one.name == "callback_method"),
    *unused("no_delay", "filler_words", "version", "tag", "mip_opt_out"),
)
FLUX_LIVE = (
    text(
        "model",
        "flux-general-en listens for English, flux-general-multi for any language; or a checkpoint of GET /v1/models.",
        max_chars=200,
    ),
    texts(
        "language_hint",
        "One language is the one that is heard; of several, any.",
        max_items=deepgram_flux.MAX_HINTS,
    ),
    _encoding("container"),
    _rate(16_000),
    CHANNELS,
    decimal(
        "eot_threshold",
        "Confidence that ends a turn. It is 1 - exp(-silence / 0.5 s): 0.7 is 602 ms of silence, 0.9 is 1.15 s, 1.0 leaves "
        "the end to the timeout and to ForceEndTurn.",
        0.5,
        1.0,
        0.7,
    ),
    decimal(
        "eager_eot_threshold",
        "Confidence for EagerEndOfTurn, at most eot_threshold: 0.5 is 347 ms of silence. Left out: there is none.",
        0.3,
        0.9,
    ),
    whole("eot_timeout_ms", "Milliseconds of silence that end a turn at the latest.", 500, 60_000, 5_000),
    PROFANITY,
    *KEYTERMS,
    *FINISH,
    _session_id(_REQUEST_ID),
    *unused("tag", "mip_opt_out"),
)
PULSE_LIVE = (
    MODEL,
    LANGUAGE,
    _encoding("linear16"),
    _rate(16_000),
    CHANNELS,
    flag("interim_results", _INTERIM, True),
    flag("word_timestamps", "Finals carry `words`; on by default on get_text."),
    flag("sentence_timestamps", "Finals carry `utterances`."),
    flag("full_transcript", "Finals carry the text so far."),
    DIARIZE,
    flag("format", "`false` writes neither punctuation nor capital letters.", True),
    PUNCTUATE,
    CAPITALIZE,
    flag("vad_events", "Send speech_started and speech_ended."),
    flag("vad", "Another name of vad_events."),
    decimal("vad_threshold", "Probability above which sound is speech; 0 is the server's own.", 0, 0.99, 0),
    Field(
        "endpointing",
        "Whether silence ends an utterance, or the milliseconds that do.",
        {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 10_000}]},
    ),
    whole("endpointing_timeout", "Milliseconds of silence that end an utterance.", 10, 10_000),
    whole("eou_timeout_ms", "The same, older name.", 10, 10_000),
    flag("finalize_on_words", "Let `max_words` end an utterance.", True),
    whole("max_words", "Longest utterance in words; 0 is no limit.", 0, 10_000, 0),
    *KEYTERMS,
    *FINISH,
    _session_id("^[a-zA-Z0-9_.-]{1,128}$"),
    text(
        "external_session_id",
        "An id of yours for the logs.",
        max_chars=128,
        pattern="^[a-zA-Z0-9_.-]{1,128}$",
    ),
)
STT_LIVE = tuple(
    one_of("model", "Which family of models.", ("pulse", "pulse-2")).needed() if one.name == "model" else one
    for one in PULSE_LIVE
)
REALTIME = (
    one_of("intent", "What the session is for.", ("transcription",), "transcription"),
    text("model", "The session's first transcription model.", max_chars=200),
)
TWILIO = (
    one_of("track", "Which side of the call.", twilio.TRACKS, "inbound"),
    MODEL,
    LANGUAGE,
    flag("interim_results", _INTERIM, True),
    whole("endpointing", "Milliseconds of silence that end an utterance.", 0, twilio.MAX_ENDPOINTING_MS),
    PUNCTUATE,
    PROFANITY,
    *KEYTERMS,
    *FINISH,
)
