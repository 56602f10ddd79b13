"""Names of voices. Existing clients name voices of their old vendor; those mean "a voice", ours mean themselves."""

from collections.abc import Sequence

# The stock voices that clients and their default settings name.
_OPENAI = "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse"
_SMALLEST = (
    "aarav aravind arman ashley avery daniel deepika diya elara emily ethan felix george irisha isha james jasmine "
    "karen kyle lauren lucas luna magnus meher mia mithali nyah olivia pooja quinn raj raman raghav sameera sandra "
    "saurabh solara sophia vanya vijay walter zorin"
)
_STOCK = frozenset(f"{_OPENAI} {_SMALLEST}".split())
_STOCK_PREFIXES = ("aura-", "aura2-")


def resolve_voice(asked: str, names: Sequence[str]) -> str:
    """The name to ask the service for: one of ours as it is (case apart), "" (the default) for a stock voice.

    Anything else stays as it was asked: the service refuses it and says what there is.
    """
    folded = {name.casefold(): name for name in names}
    if asked.casefold() in folded:
        return folded[asked.casefold()]
    if asked.casefold() in _STOCK or asked.casefold().startswith(_STOCK_PREFIXES):
        return ""
    return asked
