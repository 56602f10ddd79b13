"""The commands. Each is a module; the ones that are slow to import are imported when they are called."""

import sys
from typing import Any

import typer

from cli import bench, docs, doctor, key, listen, models, proto, speak, test, transcribe, up, voices
from cli.fail import Trouble


class _App(typer.Typer):
    """Shows a Trouble as two lines instead of a traceback."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except Trouble as trouble:
            sys.exit(trouble.show().exit_code)


app = _App(
    help="Voxmesh: speech to text and text to speech inside your own walls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.command()(up.up)
app.command()(up.down)
app.command()(transcribe.transcribe)
app.command()(listen.listen)
app.command()(speak.speak)
app.command()(voices.voices)
app.add_typer(models.app, name="models")
app.command()(doctor.doctor)
app.command()(key.key)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test.test)
app.command()(proto.proto)
app.command()(docs.docs)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench.bench)
