"""Checks that every lab has."""

PROMPT = b"K> "


def boots(t):
    """It builds, and the kernel comes up to its prompt and can be turned off."""
    if not t.image.ok:
        t.fail("your code does not build; the compiler's words are below, the first error is the "
               "one to look at", "a kernel image", t.image.log)
    run = t.boot("-- off")
    t.orderly(run)
