"""How often a key may call: counted here, or in Redis for all replicas together."""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import limits
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError as StorageConfigurationError
from limits.errors import StorageError
from pydantic import SecretStr

from blip_serve.errors import ConfigurationError
from blip_serve.telemetry import Telemetry

REDIS_S = 0.5
"""Seconds that Redis has to connect, and to answer."""
AWAY_S = 5.0
"""Seconds for which Redis is not asked again after it did not answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A key's rate after a request: the `limit`, the requests `remaining`, and the seconds until there are more."""

    admitted: bool
    limit: int
    remaining: int
    reset_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers, named as OpenAI names them."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{self.reset_s:.3f}s",
        }

    @property
    def retry_after(self) -> int:
        """Whole seconds; the SDKs wait no longer than two minutes."""
        return min(120, max(1, math.ceil(self.reset_s)))


class Rates:
    """Counts requests over a sliding window. Where Redis does not answer, each replica counts its own meanwhile."""

    def __init__(self, redis_url: SecretStr | None, telemetry: Telemetry) -> None:
        """Raises `ConfigurationError` where Redis is to be used and its package is not installed."""
        self._telemetry = telemetry
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._redis = None if redis_url is None else _redis(redis_url.get_secret_value())
        self._shared = None if self._redis is None else SlidingWindowCounterRateLimiter(self._redis)
        self._away_until = 0.0

    async def take(self, key: str, rate: str) -> Standing:
        """Counts a request of the key, if its rate allows one more."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return await _take(self._shared, key, rate)
            except StorageError as error:
                self._away_until = time.monotonic() + AWAY_S
                self._telemetry.log.error("rates_not_shared", reason=type(error.storage_error).__name__)
        return await _take(self._own, key, rate)

    async def aclose(self) -> None:
        """Closes the connections to Redis."""
        if self._redis is not None:
            await cast(RedispyBridge, self._redis.bridge).storage.aclose()


async def _take(limiter: SlidingWindowCounterRateLimiter, key: str, rate: str) -> Standing:
    item = _parsed(rate)
    admitted = await limiter.hit(item, key)
    stats = await limiter.get_window_stats(item, key)
    return Standing(admitted, item.amount, stats.remaining, max(0.0, stats.reset_time - time.time()))


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> limits.RateLimitItem:
    return limits.parse(rate)


def _redis(url: str) -> RedisStorage:
    try:
        return RedisStorage(
            f"async+{url}",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix="blip-serve",
            socket_timeout=REDIS_S,
            socket_connect_timeout=REDIS_S,
        )
    except StorageConfigurationError:
        raise ConfigurationError("auth.redis_url: needs the package redis: pip install 'blip-serve[redis]'") from None
    except ValueError:
        raise ConfigurationError("auth.redis_url: not a URL of a Redis") from None
