"""The Waves routes that neither listen nor speak: voices, cloned voices, pronunciation dictionaries."""

from aiohttp import web

from common.errors import InvalidArgument, NotFound
from edge.dialects import waves_catalogue as waves
from edge.listening.bodies import read_text
from edge.mesh import MESH
from edge.values import Json, json_object, required

_MAX_BODY_BYTES = 1024 * 1024


def mount(app: web.Application, prefix: str) -> None:
    """Adds the routes below `prefix`."""
    dicts = f"{prefix}/pronunciation-dicts"
    app.add_routes(
        [
            web.get(f"{prefix}/voice/get-all-models", _all_models),
            web.get(f"{prefix}/{{model}}/get_voices", _voices),
            web.get(f"{prefix}/voice-cloning", _cloned),
            web.post(f"{prefix}/voice-cloning", _clone),
            web.get(f"{prefix}/lightning-large/get_cloned_voices", _cloned),
            web.post(f"{prefix}/lightning-large/add_voice", _clone),
            web.delete(f"{prefix}/lightning-large", _forget_clone),
            web.get(dicts, _dictionaries),
            web.post(dicts, _create_dictionary),
            web.put(dicts, _update_dictionary),
            web.delete(dicts, _delete_dictionary),
        ]
    )


async def _voices(request: web.Request) -> web.Response:
    await _checked(request)
    voices = request.app[MESH].health.voices
    return web.json_response(waves.voices(voices, request.match_info["model"]))


async def _all_models(request: web.Request) -> web.Response:
    await _checked(request)
    return web.json_response(waves.all_models(request.app[MESH].health.voices))


async def _cloned(request: web.Request) -> web.Response:
    await _checked(request)
    return web.json_response({"data": []})


async def _clone(request: web.Request) -> web.Response:
    await _checked(request)
    raise InvalidArgument(waves.NO_CLONING, feature="voice_cloning")


async def _forget_clone(request: web.Request) -> web.Response:
    await _checked(request)
    raise NotFound("no such cloned voice", parameter="voiceId")


async def _dictionaries(request: web.Request) -> web.Response:
    key = await _checked(request)
    found = await request.app[MESH].dictionaries.all(key)
    return web.json_response([waves.dictionary(one) for one in found])


async def _create_dictionary(request: web.Request) -> web.Response:
    key = await _checked(request)
    items = waves.dictionary_items(await _body(request))
    return web.json_response(waves.dictionary(await request.app[MESH].dictionaries.create(key, items)))


async def _update_dictionary(request: web.Request) -> web.Response:
    key = await _checked(request)
    body = await _body(request)
    changed = await request.app[MESH].dictionaries.update(
        key, required(body, "id"), waves.dictionary_items(body)
    )
    return web.json_response(waves.dictionary(changed))


async def _delete_dictionary(request: web.Request) -> web.Response:
    key = await _checked(request)
    id_ = required(await _body(request), "id")
    await request.app[MESH].dictionaries.delete(key, id_)
    return web.json_response({"id": id_, "deleted": True})


async def _checked(request: web.Request) -> str:
    """The caller's key, which is good."""
    mesh = request.app[MESH]
    await mesh.check_key(request)
    return mesh.key_of(request)


async def _body(request: web.Request) -> Json:
    return json_object(await read_text(request, _MAX_BODY_BYTES, request.app[MESH].settings.body_timeout_s))
