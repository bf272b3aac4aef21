"""Open WebUI as a real server of its own: started, told its connections, and asked as its page asks it."""

import secrets
from pathlib import Path
from uuid import uuid4

from tests.support import clients, install, procs

START_SECONDS = 300


class OpenWebUI:
    """`env` is what its page of docs/clients has it started with."""

    def __init__(self, version, folder, env):
        self.version = version
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.port = procs.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        program = install.open_webui(version)
        self.child = procs.Child(
            [program, "serve", "--host", "127.0.0.1", "--port", str(self.port)], self.folder / "open-webui.log", {
                "PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(self.folder), "DATA_DIR": str(self.folder / "data"),
                "WEBUI_SECRET_KEY": secrets.token_hex(16), "WEBUI_AUTH": "False",
                # Nothing is fetched from elsewhere: no models, no news of versions.
                "OFFLINE_MODE": "true", "HF_HUB_OFFLINE": "1", "RAG_EMBEDDING_ENGINE": "openai", "ENABLE_OLLAMA_API": "false",
                "ENABLE_VERSION_UPDATE_CHECK": "false", "DO_NOT_TRACK": "true", "ANONYMIZED_TELEMETRY": "false", **env,
            }, self.folder)
        try:
            procs.until(self._answers, START_SECONDS, f"Open WebUI {version} ready", every=0.5)
        except procs.Timeout as err:
            self.child.kill()
            raise RuntimeError(f"{err}\n{self.child.tail()}") from err
        # Without sign-in there is one user, its administrator.
        self.token = self.ask("POST", "/api/v1/auths/signin", {"email": "", "password": ""}).json()["token"]
        # The news of the release, which would lie over the page, were read.
        self.ask("POST", "/api/v1/users/user/settings/update", {"ui": {"version": version}})

    def stop(self):
        self.child.kill(grace=5)

    def tail(self):
        return self.child.tail()

    def ask(self, method, path, body=None):
        lines = [("authorization", f"Bearer {self.token}")] if hasattr(self, "token") else []
        return clients.request(method, self.url + path, lines, body, 180)

    def connect(self, *connections):
        """What *Admin Settings, Connections* stores: (URL, key, its further settings) of each."""
        urls, keys, settings = zip(*connections, strict=True)
        stored = self.ask("POST", "/openai/config/update", {
            "ENABLE_OPENAI_API": True, "OPENAI_API_BASE_URLS": urls, "OPENAI_API_KEYS": keys,
            "OPENAI_API_CONFIGS": {str(number): {"enable": True, **one} for number, one in enumerate(settings)}})
        assert stored.status == 200, f"connections: {stored.brief()}"
        self.models()

    def default_params(self, **params):
        """What *Admin Settings, Models* stores for every model."""
        stored = self.ask("GET", "/api/v1/configs/models").json()
        stored = self.ask("POST", "/api/v1/configs/models", {**stored, "DEFAULT_MODEL_PARAMS": params})
        assert stored.status == 200, f"parameters: {stored.brief()}"

    def models(self):
        return [model["id"] for model in self.ask("GET", "/api/models?refresh=true").json()["data"]]

    def verify(self, url, key):
        """The button beside a connection."""
        return self.ask("POST", "/openai/verify", {"url": url, "key": key, "config": {}})

    def new_chat(self):
        answer = self.ask("POST", "/api/v1/chats/new", {"chat": {"title": "New Chat", "history": {"messages": {}, "currentId": None}}})
        assert answer.status == 200, f"a new chat: {answer.brief()}"
        return answer.json()["id"]

    def chat(self, model, said, chat):
        """A message of a chat: the answer, and its text. In one piece, as 0.12 streams into the chat alone."""
        body = {"model": model, "stream": False, "chat_id": chat, "id": str(uuid4()), "messages": [{"role": "user", "content": said}]}
        answer = self.ask("POST", "/api/chat/completions", body)
        return answer, text(answer)

    def title(self, model, said, chat):
        """The prompt that it makes by itself after the first answer of a chat."""
        messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "yes"}]
        return self.ask("POST", "/api/v1/tasks/title/completions", {"model": model, "messages": messages, "chat_id": chat})

    def _answers(self):
        if not self.child.alive():
            raise RuntimeError(f"Open WebUI {self.version} ended at its start:\n{self.child.tail()}")
        try:
            return clients.request("GET", f"{self.url}/health", seconds=5).status == 200
        except OSError:
            return False


def text(answer):
    """The words of an answer in one piece."""
    whole = answer.json() or {}
    return "".join((choice.get("message") or {}).get("content") or "" for choice in whole.get("choices") or [])
