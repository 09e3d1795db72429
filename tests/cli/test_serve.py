"""`gatework serve` as a process: from its first line to its end; and mistakes on its command line."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

import language_models
from services import need_extra

RUN = [sys.executable, "-c", "import sys; from gatework.cli import main; sys.exit(main())", "serve"]


@contextlib.contextmanager
def served(*arguments, **options):
    """The process and the address that it names."""
    words = [*RUN, *map(str, arguments), "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            lines = []
            while not lines or " on http" not in lines[-1]:
                lines.append(process.stderr.readline())
                assert lines[-1], "".join(lines)
            yield process, lines, int(re.search(r":(\d+)$", lines[-1].split(",")[0].strip())[1])
        finally:
            process.kill()


def test_a_process_answers_and_ends_when_told(model):
    need_extra()
    with served(f"reviews={model}") as (process, lines, port):
        assert lines[-1].startswith("gatework: serving reviews (classify) on http://127.0.0.1:")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("POST", "/v1/models/reviews/predict", b'{"text": "wonderful"}')
            assert json.loads(connection.getresponse().read())["answer"]["label"] in ("neg", "pos")
        import grpc

        with grpc.insecure_channel(re.search(r"gRPC on (\S+)$", lines[-1].strip())[1]) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
            for name, ready in (("reviews", b"\x08\x01"), ("nobody", b"")):
                assert call(b"\x0a%c%s" % (len(name), name.encode()), timeout=30) == ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


NUMPY_IMPORTED = """
import os, sys
class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(os.environ.get("OPENBLAS_NUM_THREADS"))
sys.meta_path.insert(0, Told())
from gatework.cli import main
main(["serve", "nowhere.gw", "--port", "0", "--no-grpc"])
"""


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3"), ({"OMP_NUM_THREADS": "2"}, "None")],
    ids=["nothing", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"],
)
def test_numpy_has_no_threads_of_its_own_unless_told(given, told):
    need_extra()
    own = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = [sys.executable, "-c", NUMPY_IMPORTED]
    done = subprocess.run(run, env=own | given, capture_output=True, text=True, check=False)
    assert (done.stdout.split()[0], "no such file" in done.stderr) == (told, True), done.stderr


def test_tls_and_tokens(model, tmp_path):
    need_extra()
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate, tokens = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "tokens"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*make, *names], check=True, capture_output=True)
    tokens.write_text("a-good-token\n")
    with served(model, "--tls-cert", certificate, "--tls-key", key, "--token-file", tokens) as (_, _, port):
        context = ssl.create_default_context(cafile=certificate)
        for headers, status in (({}, 401), ({"Authorization": "Bearer a-good-token"}, 200)):
            with contextlib.closing(http.client.HTTPSConnection("localhost", port, context=context)) as connection:
                connection.request("GET", "/v1/models", headers=headers)
                assert connection.getresponse().status == status


def test_a_key_with_a_passphrase_is_a_mistake_and_no_question(gatework, model, tmp_path):
    need_extra()
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a key with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-passout", "pass:word"]
    subprocess.run(
        [*make, "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    done = gatework("serve", model, "--tls-cert", str(certificate), "--tls-key", str(key))
    assert done.status == 2
    assert "is locked with a passphrase" in done.err


def test_an_open_address_without_a_token_is_told(model):
    need_extra()
    with served(model, "--host", "0.0.0.0") as (_, lines, _):
        assert "no --token-file" in lines[0]


@pytest.mark.parametrize("told", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["drain", "twice"])
def test_an_end_that_does_not_wait_longer_leaves_no_traceback(model, told):
    need_extra()
    drain = 1 if len(told) == 1 else 60
    with served(f"reviews={model}", "--drain", drain) as (process, _, port):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as slow:
            slow.sendall(b"POST /v1/models/reviews/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            time.sleep(0.5)  # until it is being read
            for one in told:
                process.send_signal(one)
                time.sleep(0.3)
            assert process.wait(timeout=30) == 0
            answer = slow.recv(1000)
        assert "Traceback" not in process.stderr.read()
    if drain == 1:
        assert b" 503 " in answer
        assert b"has stopped" in answer


def test_another_kind_of_address(model):
    need_extra()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with served(f"reviews={model}", "--host", "::1") as (_, lines, port):
        assert re.search(r"on http://\[::1\]:\d+, gRPC on \[::1\]:\d+$", lines[-1].strip())
        with contextlib.closing(http.client.HTTPConnection("::1", port)) as connection:
            connection.request("GET", "/health/ready")
            assert connection.getresponse().status == 200


def test_a_port_for_grpc_that_is_taken_is_told_once(model):
    need_extra()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = [*RUN, str(model), "--port", "0", "--grpc-port", str(taken.getsockname()[1])]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"gatework: serve: \S+ is not to be had for gRPC\..*\n", done.stderr), done.stderr


def test_few_files_are_told_and_more_are_taken_where_they_may(model):
    need_extra()
    resource = pytest.importorskip("resource", reason="no limit on files here")
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("the limit on files cannot be raised here")

    def limited(soft, hard):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with served(model, preexec_fn=limited(64, 64)) as (_, lines, port):
        assert "`ulimit -n` is 64" in lines[0]
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/health/ready")
            assert connection.getresponse().status == 200
    with served(model, preexec_fn=limited(64, 4096)) as (process, lines, _):
        assert len(lines) == 1
        limits = Path(f"/proc/{process.pid}/limits")
        if limits.exists():
            assert int(re.search(r"Max open files\s+(\d+)", limits.read_text())[1]) > 2048


MISTAKES = [
    ([], "no model"),
    (["--folder", "nowhere"], "is no folder"),
    (["nowhere.gw"], "no such file"),
    (["MODEL", "MODEL"], "two models are called reviews"),
    (["MODEL", "--host", "256.1.1.1"], "is not to be had"),
    (["MODEL", "--tls-cert", "x.pem"], "both --tls-cert and --tls-key"),
    (["MODEL", "--tls-cert", "x.pem", "--tls-key", "y.pem"], "no such pair"),
    (["MODEL", "--token-file", "nowhere"], "cannot be read"),
    (["MODEL", "--max-batch", "0"], "--max-batch"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=lambda value: str(value)[:30])
def test_mistakes(gatework, model, arguments, words):
    need_extra()
    done = gatework("serve", *[model if word == "MODEL" else word for word in arguments])
    assert (done.status, done.out) == (2, "")
    assert words in done.err, done.err
    assert len(done.err.splitlines()) == 1


def test_without_the_extra_one_line_says_what_to_install(gatework, model, monkeypatch):
    from gatework.server import installed

    monkeypatch.setattr(installed, "NEEDED", ("no_such_package",))
    done = gatework("serve", model)
    assert done.status == 2
    assert "pip install 'gatework[serve]'" in done.err


@pytest.mark.parametrize("told", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]], ids=["drain", "twice"])
def test_a_conversation_is_answered_before_it_ends(tmp_path, told):
    need_extra()
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    language_models.write_model(tmp_path / "lm.gw", encoder={"units": 512, "layers": 3})
    with served(f"lm={tmp_path / 'lm.gw'}", "--drain", 60) as (process, _, port):
        heard = []
        with connect(f"ws://127.0.0.1:{port}/v1/models/lm/stream") as talk, contextlib.suppress(ConnectionClosed):
            talk.send(json.dumps({"text": "the cat", "options": {"max_tokens": 3000, "constraint": "[a-z]{3000}"}}))
            heard.append(json.loads(talk.recv(timeout=30)))
            for one in told:
                process.send_signal(one)
            while True:
                heard.append(json.loads(talk.recv(timeout=30)))
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
        if len(told) == 1:
            assert talk.protocol.close_code == 1012
            assert heard[-1]["answer"]["text"] == "".join(one.get("piece", "") for one in heard)
