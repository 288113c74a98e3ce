"""What to do where the system refuses something in the cache folder."""

from poisonsets.door.cache import ELSEWHERE, cache_folder
from poisonsets.manifests.errors import MissingError, PoisonsetsError
from poisonsets.manifests.files import store


def naming_cache(error: PoisonsetsError) -> PoisonsetsError:
    """The error, with what to do where the system refused something in the cache folder."""
    try:
        inside = error.message.startswith(f"{cache_folder()}")
    except MissingError:
        inside = False
    refused = error.remedy in (store.PERMISSIONS, store.OTHER_PLACE)
    return MissingError(error.message, ELSEWHERE) if inside and refused else error
