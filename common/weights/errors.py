"""What can go wrong on the way to a model's files.

VoxmeshError
├── InvalidArgument
│   └── BadSpec           the text that names the model is wrong
└── Unavailable
    └── WeightsError      the files cannot be had now
        ├── Unreachable   no answer, or a refusal, from where they are
        ├── Corrupt       they are not the files they should be
        └── CacheUnusable the cache directory is full or cannot be written
"""

from common.errors import InvalidArgument, Unavailable


class BadSpec(InvalidArgument):
    pass


class WeightsError(Unavailable):
    pass


class Unreachable(WeightsError):
    pass


class Corrupt(WeightsError):
    pass


class CacheUnusable(WeightsError):
    pass
