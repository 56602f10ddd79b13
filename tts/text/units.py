"""Names of units and currencies, from the Unicode locale data in Babel."""

import re
from functools import lru_cache

from babel.numbers import get_currency_name
from babel.units import format_unit

CURRENCY_SYMBOLS = {
    "$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY",
    "₴": "UAH", "₪": "ILS", "₫": "VND", "฿": "THB", "A$": "AUD", "C$": "CAD", "R$": "BRL",
}  # fmt: skip
CURRENCY_CODES = frozenset(
    (*CURRENCY_SYMBOLS.values(), "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "CNY", "NZD", "SGD")
)
_PLAIN_NAMES = {
    "USD": ("dollar", "dollars"),
    "GBP": ("pound", "pounds"),
    "JPY": ("yen", "yen"),
    "INR": ("rupee", "rupees"),
}
_CENTS = {
    "GBP": ("penny", "pence"),
    "INR": ("paisa", "paise"),
    "CHF": ("centime", "centimes"),
    "RUB": ("kopeck", "kopecks"),
}
MAGNITUDES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "bn": "billion",
              "b": "billion", "B": "billion", "tn": "trillion", "T": "trillion"}  # fmt: skip
MAGNITUDE_WORDS = frozenset("hundred thousand million billion trillion".split())

# Symbol -> CLDR unit. Some are words or letters too: NEVER_APART count only
# when glued to their number ("5in"), GLUED_TO_NOTHING only when apart from it.
UNITS = {
    "km": "length-kilometer", "m": "length-meter", "cm": "length-centimeter", "mm": "length-millimeter",
    "µm": "length-micrometer", "μm": "length-micrometer", "nm": "length-nanometer", "mi": "length-mile", "ft": "length-foot", "in": "length-inch",
    "yd": "length-yard", "kg": "mass-kilogram", "g": "mass-gram", "mg": "mass-milligram", "t": "mass-tonne",
    "lb": "mass-pound", "lbs": "mass-pound", "oz": "mass-ounce", "l": "volume-liter", "L": "volume-liter",
    "ml": "volume-milliliter", "mL": "volume-milliliter", "gal": "volume-gallon", "tsp": "volume-teaspoon",
    "tbsp": "volume-tablespoon", "km/h": "speed-kilometer-per-hour", "kmh": "speed-kilometer-per-hour", "kph": "speed-kilometer-per-hour",
    "mph": "speed-mile-per-hour", "m/s": "speed-meter-per-second", "°C": "temperature-celsius",
    "°F": "temperature-fahrenheit", "°": "angle-degree", "ºC": "temperature-celsius", "ºF": "temperature-fahrenheit", "℃": "temperature-celsius",
    "℉": "temperature-fahrenheit", "h": "duration-hour", "hr": "duration-hour", "hrs": "duration-hour",
    "min": "duration-minute", "mins": "duration-minute", "s": "duration-second", "sec": "duration-second",
    "secs": "duration-second", "ms": "duration-millisecond", "ns": "duration-nanosecond", "B": "digital-byte",
    "KB": "digital-kilobyte", "kB": "digital-kilobyte", "MB": "digital-megabyte", "GB": "digital-gigabyte",
    "TB": "digital-terabyte", "PB": "digital-petabyte", "kbit": "digital-kilobit", "Mbit": "digital-megabit",
    "Gbit": "digital-gigabit", "Hz": "frequency-hertz", "kHz": "frequency-kilohertz", "MHz": "frequency-megahertz",
    "GHz": "frequency-gigahertz", "W": "power-watt", "kW": "power-kilowatt", "MW": "power-megawatt",
    "V": "electric-volt", "A": "electric-ampere", "mA": "electric-milliampere", "J": "energy-joule",
    "kJ": "energy-kilojoule", "kcal": "energy-kilocalorie", "kWh": "energy-kilowatt-hour", "hPa": "pressure-hectopascal",
    "psi": "pressure-pound-force-per-square-inch", "bar": "pressure-bar", "hp": "power-horsepower",
    "m²": "area-square-meter", "m2": "area-square-meter", "km²": "area-square-kilometer", "km2": "area-square-kilometer",
    "ft²": "area-square-foot", "m³": "volume-cubic-meter", "m3": "volume-cubic-meter", "px": "graphics-pixel",
}  # fmt: skip
_OTHER_UNITS = {"dB": ("decibel", "decibels"), "Mbps": ("megabit per second", "megabits per second"),
                "Gbps": ("gigabit per second", "gigabits per second"), "kbps": ("kilobit per second", "kilobits per second"),
                "rpm": ("revolution per minute", "revolutions per minute"), "fps": ("frame per second", "frames per second"),
                "Ω": ("ohm", "ohms"), "kΩ": ("kilohm", "kilohms"), "ppm": ("part per million", "parts per million")}  # fmt: skip
NEVER_APART = frozenset("in A B J s t h".split())
GLUED_TO_NOTHING = frozenset("A B J L t".split())
GLUED = re.compile(
    rf"([-−+]?[\d.,]*\d)({'|'.join(sorted(map(re.escape, (*UNITS, *_OTHER_UNITS)), key=len, reverse=True))})"
)


@lru_cache(maxsize=512)
def unit_name(symbol: str, *, one: bool) -> str:
    """ "km" -> "kilometer" or "kilometers"; "" for an unknown symbol."""
    if symbol in _OTHER_UNITS:
        return _OTHER_UNITS[symbol][0 if one else 1]
    unit = UNITS.get(symbol)
    if unit is None:
        return ""
    amount = "1" if one else "2"
    return (
        format_unit(int(amount), unit, length="long", locale="en")
        .removeprefix(amount)
        .strip()
        .replace("-", " ")
    )


@lru_cache(maxsize=128)
def currency_name(code: str, *, one: bool) -> str:
    """ "EUR" -> "euro" or "euros"."""
    if code in _PLAIN_NAMES:
        return _PLAIN_NAMES[code][0 if one else 1]
    name = get_currency_name(code, 1 if one else 2, locale="en")
    return name[0].lower() + name[1:] if code == "EUR" else name


def cent_name(code: str, *, one: bool) -> str:
    """ "GBP" -> "penny" or "pence"; "cent" or "cents" for most."""
    return _CENTS.get(code, ("cent", "cents"))[0 if one else 1]
