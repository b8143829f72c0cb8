"""The tasks of a server, over HTTP as any client calls them. Knows the public interface only."""
