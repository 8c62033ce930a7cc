"""Text from elsewhere (images, tests, registries), made safe for a terminal, a log of a job, and Markdown."""

import re

# What a terminal obeys or hides, and what UTF-8 has no bytes for.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def plain(text: str) -> str:
    """Return text from elsewhere so that a terminal and the log of a CI job print it and do nothing else."""
    text = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))
    return re.sub(r"(?m)^\s*(?=::)|##(?=\w*\[)", r"\g<0>\\", text)


def one_line(text: str) -> str:
    """Return text from elsewhere as one line that is safe to print."""
    return plain(" ".join(text.split()))


def code(text: str) -> str:
    """Return text from elsewhere as a Markdown code span, in which nothing is rendered; "" if it is blank."""
    line = one_line(text).replace("`", "'")
    return f"`{line}`" if line else ""


def error_command(title: str, text: str) -> str:
    """Return the workflow command that makes GitHub show an error on the job's page."""
    title, text = (one_line(each).replace("%", "%25") for each in (title, text))
    return f"::error title={title.replace(':', '%3A').replace(',', '%2C')}::{text}"


def without_secrets(text: str) -> str:
    """Return a URL, or text with URLs, without the users and passwords in them."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)
