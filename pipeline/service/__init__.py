"""The service: jobs of a team, queued, run on a Ray cluster, watched, and started when a crawl is published."""
