"""English abbreviations: how they are read, and whether their full stop can end a sentence."""

# A full stop after one of these never ends a sentence: a name, a number or more of the phrase follows.
LEADING: dict[str, str] = {
    "adm": "admiral",
    "brig": "brigadier",
    "capt": "captain",
    "cmdr": "commander",
    "col": "colonel",
    "dr": "doctor",
    "e.g": "for example",
    "eg": "for example",
    "fig": "figure",
    "figs": "figures",
    "ft": "fort",
    "gen": "general",
    "gov": "governor",
    "hon": "honorable",
    "i.e": "that is",
    "lt": "lieutenant",
    "maj": "major",
    "messrs": "messieurs",
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "mt": "mount",
    "mx": "mix",
    "nos": "numbers",
    "pp": "pages",
    "pres": "president",
    "prof": "professor",
    "rep": "representative",
    "rev": "reverend",
    "sen": "senator",
    "sgt": "sergeant",
    "st": "saint",
    "vol": "volume",
    "vs": "versus",
}

# These may be the last word of a sentence.
TRAILING: dict[str, str] = {
    "a.m": "a m",
    "approx": "approximately",
    "apt": "apartment",
    "ave": "avenue",
    "blvd": "boulevard",
    "co": "company",
    "corp": "corporation",
    "dept": "department",
    "est": "established",
    "etc": "et cetera",
    "govt": "government",
    "hwy": "highway",
    "inc": "incorporated",
    "jr": "junior",
    "ltd": "limited",
    "misc": "miscellaneous",
    "p.m": "p m",
    "rd": "road",
    "sr": "senior",
    "tel": "telephone",
}

MONTHS: dict[str, str] = {
    "jan": "January",
    "feb": "February",
    "mar": "March",
    "apr": "April",
    "jun": "June",
    "jul": "July",
    "aug": "August",
    "sep": "September",
    "sept": "September",
    "oct": "October",
    "nov": "November",
    "dec": "December",
}

DAYS: dict[str, str] = {
    "mon": "Monday",
    "tue": "Tuesday",
    "tues": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "thur": "Thursday",
    "thurs": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}

# Read as written unless a number follows ("No. 5", "p. 12").
BEFORE_NUMBER: dict[str, str] = {
    "no": "number",
    "p": "page",
    "ch": "chapter",
    "sec": "section",
    "art": "article",
}

# Abbreviations of other languages whose full stop does not end a sentence; espeak-ng knows how to read them.
FOREIGN: dict[str, frozenset[str]] = {
    "de": frozenset("bzw ca d.h dr evtl fr frl hr inkl nr prof st str u.a usw z.b zzgl".split()),
    "es": frozenset("av d dr dra ej gral núm p.ej prof pág sr sra srta ud uds".split()),
    "fr": frozenset("av dr env etc ex m me mgr mlle mm mme p.ex prof st ste".split()),
    "it": frozenset("avv dott dr ecc es ing prof sig sig.ra sigg".split()),
    "nl": frozenset("bijv dhr dr drs enz evt ing mevr mr nr prof".split()),
    "pt": frozenset("av dr dra etc ex exmo prof sr sra".split()),
}

# Words that open a sentence more often than they follow an abbreviation inside one.
SENTENCE_STARTERS = frozenset(
    "a after also although and are as at because before but by can did do does for from he her here his how i if"
    " in is it its many most my no not now of on or our please she since so some that the their then there these"
    " they this those to we what when where which while who why will with yes you your".split()
)
