"""Turns an image in a request into pixels: parse, fetch, check, decode. Knows no HTTP API and no model."""
