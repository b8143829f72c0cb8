"""This checkout's service against another checkout's, by turns in one run."""
