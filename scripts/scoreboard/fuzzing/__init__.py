"""Requests for the fuzz: from the OpenAPI document, from the image grammar, from damaged pictures; and their judge."""
