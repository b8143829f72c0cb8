"""What a notebook shows of results: pictures, bars and heat as HTML. Knows no server and no kernel."""
