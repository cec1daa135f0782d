"""Start the studio's page: python app.py [--host 127.0.0.1] [--port 7860] [--output-dir DIR] [--share]"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from importlib import import_module
from importlib.util import find_spec

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported


def main() -> int:
    from anime_ai.errors import AnimeAIError
    from anime_ai.texts import text

    parser = argparse.ArgumentParser(description="Anime AI Studio")
    on_space = bool(os.environ.get("SPACE_ID"))
    parser.add_argument("--host", default="0.0.0.0" if on_space else "127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--output-dir", help="where everything of yours is kept (ANIME_AI_OUTPUT_DIR)")
    parser.add_argument("--share", action="store_true", help="a public address for a few days, through gradio.live")
    named = parser.parse_args()
    try:
        return serve(named.host, named.port, named.output_dir, named.share and not on_space)
    except AnimeAIError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stdout.write(text("ui.bye") + "\n")
        return 0


def serve(host: str, port: int, output_dir: str | None, share: bool) -> int:
    from anime_ai.config import Settings
    from anime_ai.studio import Studio
    from anime_ai.texts import text
    from anime_ai.ui.health import Health
    from anime_ai.ui.launch import check_password, free_port, launch

    if find_spec("spaces"):  # a ZeroGPU Space: it wants to be imported before torch
        import_module("spaces")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings.load(output_dir=output_dir)
    check_password(settings.owner_password.get_secret_value(), host, share)
    free, health = free_port(host, port), Health(settings.studio_dir / "health.json")
    with Studio.open(settings) as studio:
        demo = launch(studio, host, free, share, health)
        try:
            lines = [text("ui.port_taken", taken=port, port=free)] if free != port else []
            lines.append(text("ui.running", address=demo.local_url))
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
            health.start()
            while True:  # a wait without an end swallows Ctrl-C on Windows
                threading.Event().wait(1)
        finally:
            demo.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main())
