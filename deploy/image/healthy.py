#!/opt/crawlmill/bin/python -IS
"""Asks URLs on this machine whether all is well, and says so by exit status: slim images have no curl.

    healthy.py http://127.0.0.1:8265/api/gcs_healthz

The isolated start without `site` is what makes it cheap: a health check runs all day.
"""

import sys
import urllib.request

SECONDS = 5

for url in sys.argv[1:]:
    try:
        urllib.request.urlopen(url, timeout=SECONDS).close()  # raises for 4xx and 5xx
    except OSError as error:
        sys.exit(f"{url}: {error}")
