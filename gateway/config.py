"""What a gateway is told at its start, as plain values with defaults that suit the open internet."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Config:
    """Addresses, keys and limits of one gateway; rates in calls a second, sizes in bytes, times in seconds."""

    # Replicas of the control plane, ("host", port) each; one is asked at a time.
    control_planes: tuple[tuple[str, int], ...]
    # The issuer's JWKS (RFC 7517): the document itself, which begins with "{", else its file or its http(s) URL.
    jwks: str
    issuer: str
    audience: str
    # Kept there: Envoy's bootstrap, the admin socket, the names of certificate files.
    folder: Path
    # Access log, a line of JSON for each request; "/dev/stdout" is the console.
    log: Path
    host: str = "127.0.0.1"
    port: int = 8080
    zone: str = ""
    # Folder with an identity's ca.pem, cert.pem and key.pem, for mutual TLS with services and control planes.
    identity: Path | None = None
    # The certificate (chain) and key that apps see; both or none.
    certificate: Path | None = None
    key: Path | None = None
    # Trusted authorities for an https issuer, as a PEM bundle.
    authorities: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    # Web pages that may call, "https://shop.example" each; none: any page, which is safe as no cookie is ever read.
    origins: tuple[str, ...] = ()
    # Proxies before this one whose X-Forwarded-For is believed; 0: the caller is whoever connects.
    trusted_hops: int = 0
    # Let callers pick a version by the header x-sharemesh-version; else it is removed, since strangers could send all
    # of their load to a canary that is sized for a few percent.
    can_pick_version: bool = False

    # A person with an app makes a few calls a second; a shop's or a carrier's address stands for many persons. 0: none.
    calls_per_principal: int = 50
    calls_per_address: int = 300
    # What may come at once after silence, in seconds' worth of calls.
    burst_seconds: int = 2
    # Buckets that are remembered; beyond it the longest unused one is forgotten, and is full when it comes back.
    callers: int = 20_000
    # The services take 512 KiB; JSON is wordier. A picture of 8 MiB is 10.7 MiB in base64.
    request_bytes: int = 1024 * 1024
    image_request_bytes: int = 12 * 1024 * 1024
    # The largest page or picture is 3 MiB; JSON is wordier.
    response_bytes: int = 12 * 1024 * 1024
    # Against those who send a byte now and then: for all headers, and for all of a request (a picture by a slow phone).
    headers_seconds: float = 10.0
    request_seconds: float = 60.0
    # Of silence in a stream; the services send a heartbeat every 15 s.
    idle_seconds: float = 300.0
    connections: int = 10_000
    # Of Envoy's heap: near it no more requests are taken.
    memory_bytes: int = 1024 * 1024 * 1024
    # When it stops: how long load balancers are told so first, then how long calls under way may last.
    drain_seconds: float = 5.0
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError, which says what is wrong and what to do."""
        if not self.control_planes:
            raise ValueError("--control-plane is needed: the host:port of `python -m registry`, several with commas")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("--certificate and --key go together: give both, or none for plain HTTP")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise ValueError(f"there is no file {path}")
        if self.has_key_file and not Path(self.jwks).is_file():
            raise ValueError(f"--auth: there is no file {self.jwks}")

    @property
    def has_key_file(self) -> bool:
        """Whether the keys are in a file, which may be replaced while the gateway runs."""
        return not self.jwks.startswith(("{", "http://", "https://"))
