"""s3:// urls: turned into signed https ones, when the installation has credentials."""

import asyncio
import re
from typing import Any

from common.errors import InvalidArgument
from edge.settings import EdgeSettings

EXPIRES_S = 300
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.{1,1024})", re.DOTALL)


class S3Signer:
    """Signs reads of objects. The library is loaded with the first of them."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._loading = asyncio.Lock()

    @property
    def own_endpoint(self) -> bool:
        """The objects come from a place that the installation named, which may be private."""
        return bool(self._settings.s3_endpoint)

    async def sign(self, url: str) -> str:
        """An http(s) url that may be read for a few minutes.

        Raises:
            InvalidArgument: not the name of an object, or the installation has no credentials.
        """
        named = _URL.fullmatch(url)
        if named is None:
            raise InvalidArgument("url must be s3://bucket/key", parameter="url")
        if not (self._settings.s3_access_key_id and self._settings.s3_secret_access_key):
            raise InvalidArgument(
                "s3:// urls are not set up here: send an https:// url, signed if need be", parameter="url"
            )
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._open)
        place = {"Bucket": named[1], "Key": named[2]}
        signed: str = self._client.generate_presigned_url("get_object", Params=place, ExpiresIn=EXPIRES_S)
        return signed

    def _open(self) -> Any:
        try:
            import botocore.config
            import botocore.session
        except ImportError:
            raise InvalidArgument(
                "s3:// urls are not set up here: the package botocore is missing", parameter="url"
            ) from None
        return botocore.session.Session().create_client(
            "s3",
            region_name=self._settings.s3_region,
            endpoint_url=self._settings.s3_endpoint or None,
            aws_access_key_id=self._settings.s3_access_key_id,
            aws_secret_access_key=self._settings.s3_secret_access_key,
            aws_session_token=self._settings.s3_session_token or None,
            config=botocore.config.Config(signature_version="s3v4"),
        )
