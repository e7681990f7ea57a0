"""What Prometheus is told of the lexicon that this process runs, and of what its rollouts did."""

from prometheus_client import Counter, Gauge

RELEASE = Gauge("sharemesh_lexicon_release_info", "The lexicon release that this process judges by: 1.", ["release"])
TERMS = Gauge("sharemesh_lexicon_terms", "How many terms that release has.")
LOAD_SECONDS = Gauge("sharemesh_lexicon_load_seconds", "How long it took to make that release ready for search.")
# By outcome: suspended, restored, published, rejected, review, failed, or unchanged.
REAUDITED = Counter("sharemesh_reaudited", "Judged again by this process after the lexicon changed.", ["outcome"])


def tell(release: str, terms: int, seconds: float) -> None:
    """This process judges by that release from now on."""
    RELEASE.clear()
    RELEASE.labels(release).set(1)
    TERMS.set(terms)
    LOAD_SECONDS.set(seconds)
