"""A certificate authority for this devstack only: one certificate for the hub, one per user."""

from __future__ import annotations

from pathlib import Path

from koji_containerbuild.devstack.places import HOST
from koji_containerbuild.devstack.process import run_program

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = "3650"
OURS = "/O=koji-containerbuild devstack"


def authority(folder: Path) -> Path:
    """The CA's certificate (clients call it serverca)."""
    path = folder / "ca.crt"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        key = ["-keyout", str(folder / "ca.key"), "-out", str(path)]
        subject = ["-subj", f"{OURS}/CN=devstack CA"]
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        run_program(["openssl", "req", "-x509", *KEY, "-days", DAYS, *key, *subject, *usage])
    return path


def server(folder: Path, host: str = HOST) -> Path:
    """Certificate and key of the hub's https listener at this address, in one file."""
    names = f"subjectAltName=IP:{host},DNS:localhost"
    return signed(folder, f"server-{host}", f"{OURS}/CN={host}", names)


def client(folder: Path, user: str) -> Path:
    """Certificate and key of a Koji user, in one file, as `cert` in a client profile wants it."""
    return signed(folder, user, f"{OURS}/CN={user}", "extendedKeyUsage=clientAuth")


def signed(folder: Path, name: str, subject: str, extension: str) -> Path:
    """NAME.pem: a certificate for the subject (`/O=group/CN=user`), with its key; made once."""
    path = folder / f"{name}.pem"
    if path.exists():
        return path
    ca = authority(folder)
    key, crt = folder / f"{name}.key", folder / f"{name}.crt"
    request = folder / f"{name}.csr"
    make = ["openssl", "req", *KEY, "-keyout", str(key), "-out", str(request), "-subj", subject]
    run_program(make)
    (folder / f"{name}.ext").write_text(extension + "\n")
    sign = ["-CA", str(ca), "-CAkey", str(folder / "ca.key"), "-CAcreateserial", "-days", DAYS]
    files = ["-in", str(request), "-out", str(crt), "-extfile", str(folder / f"{name}.ext")]
    run_program(["openssl", "x509", "-req", *sign, *files])
    path.touch(mode=0o600)
    path.write_text(crt.read_text() + key.read_text())
    for scrap in (key, crt, request, folder / f"{name}.ext"):
        scrap.unlink()
    return path
