"""The service over HTTP: `create_app` puts routes, pages and what guards them together."""

from pipeline.service.api.app import create_app

__all__ = ["create_app"]
