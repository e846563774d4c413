"""The compiled core: C with the same bits as numpy, built at installation and loaded with ctypes."""

from gaelp_ray.core.library import implementation

__all__ = ["implementation"]
