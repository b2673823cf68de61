"""A pod that ``helm template`` describes, started without Kubernetes: in the image's root, with its volumes mounted.

The root is read-only, files of a Secret are links to a folder that root owns, and the volumes belong to root and the
group of the pod, as the kubelet makes them.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import yaml

from chroot_process import ChrootProcess


class RenderedPod:
    """The pod of the one Deployment or StatefulSet of a chart."""

    def __init__(self, rendered: str, secrets: dict[str, dict[str, str]]) -> None:
        """Read the objects; ``secrets`` are those that the user makes, by name and key."""
        objects = [each for each in yaml.safe_load_all(rendered) if each]
        made = {each["metadata"]["name"]: each["stringData"] for each in objects if each["kind"] == "Secret"}
        self._secrets = secrets | made
        (workload,) = [each for each in objects if each["kind"] in {"Deployment", "StatefulSet"}]
        self.spec: dict[str, Any] = workload["spec"]["template"]["spec"]
        (self.container,) = self.spec["containers"]
        self._volumes = {each["name"]: each for each in self.spec["volumes"]}
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            self._volumes[claim["metadata"]["name"]] = {"persistentVolumeClaim": claim}

    def start(self, root: Path, home: Path, image_env: dict[str, str], entrypoint: list[str]) -> ChrootProcess:
        """Start the container in ``root``, which is the image's; volumes are folders below ``home``."""
        security = self.spec["securityContext"] | self.container["securityContext"]
        user, group = security["runAsUser"], security["runAsGroup"]
        here = shlex.quote(str(root))
        mounts = [f"mount --bind {here} {here}", f"mount -t proc proc {here}/proc", f"mount --rbind /dev {here}/dev"]
        for mount in self.container["volumeMounts"]:
            folder = self._volume(mount["name"], home, security["fsGroup"])
            target = shlex.quote(f"{root}{mount['mountPath']}")
            mounts.append(f"mount --bind {shlex.quote(str(folder))} {target}")
            if mount.get("readOnly"):
                mounts.append(f"mount -o remount,bind,ro {target}")
        if security["readOnlyRootFilesystem"]:
            mounts.append(f"mount -o remount,bind,ro {here}")
        words = [*self.container.get("command", entrypoint), *self.container["args"]]
        return ChrootProcess(root, f"{user}:{group}", image_env | self._environment(), words, home / "log", mounts)

    def probe(self, name: str) -> str:
        """Return the path of a probe, which must be at the diagnostics port."""
        request = self.container[name]["httpGet"]
        assert request["port"] == "diagnostics"
        return str(request["path"])

    def _environment(self) -> dict[str, str]:
        found = {}
        for variable in self.container.get("env", []):
            if "value" in variable:
                found[variable["name"]] = variable["value"]
            else:
                reference = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = self._secrets[reference["name"]][reference["key"]]
        return found

    def _volume(self, name: str, home: Path, group: int) -> Path:
        folder = home / "volumes" / name
        folder.mkdir(parents=True)
        volume = self._volumes[name]
        if "secret" in volume:
            (folder / "..data").symlink_to("..first")
            (folder / "..first").mkdir()
            for key, text in self._secrets[volume["secret"]["secretName"]].items():
                file = folder / "..first" / key
                file.write_text(text, "utf-8")
                file.chmod(volume["secret"]["defaultMode"])
                os.chown(file, 0, group)
                (folder / key).symlink_to(f"..data/{key}")
        else:
            assert "emptyDir" in volume or "persistentVolumeClaim" in volume
            os.chown(folder, 0, group)
            folder.chmod(0o2775)
        return folder
