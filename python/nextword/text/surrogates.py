"""Surrogate pairs, which strings from UTF-16 hold in the place of characters. bindings/text/text.h does the same."""


def joined(text: str) -> str:
    """The text with each surrogate pair made into its character; lone surrogates stay.

    >>> joined("\\ud83d\\ude00!")
    '😀!'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text
