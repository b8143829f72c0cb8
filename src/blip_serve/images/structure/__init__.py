"""What in an image file makes the picture, found by walks that are bounded in steps. Decodes no pixels.

A decoder is handed this and no more: what a file says beside the picture neither refuses it nor holds a decoder up.
"""
