"""The Helm chart as Kubernetes would see it: rendered by helm, held against Kubernetes' and Dapr's
own schemas, its configuration given to the real binary. `make helm-test`."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

try:
    import yaml
except ImportError:
    yaml = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "virtufin"
BINARY = pathlib.Path(os.environ.get("VIRTUFIN_BUILD", ROOT / "build" / "dev")) / "virtufin"
ADDRESSES = ("redisHost", "natsURL")

ONE_POD = {}
REDIS = {"bus": "dapr"}
JETSTREAM = {"bus": "dapr", "dapr": {"broker": "jetstream"}}
THREE_PODS = {"bus": "dapr", "split": True}
THREE_PODS_JETSTREAM = {**JETSTREAM, "split": True}
EVERYTHING = {
    "bus": "dapr", "split": True,
    "config": "[workmanager]\nmax_workers = 7\n",
    "env": {"VIRTUFIN_GATEWAY__MAX_STREAMS": 77, "VIRTUFIN_LOG__LEVEL": "debug"},
    "secretEnv": [{"name": "VIRTUFIN_PROCESS__INSTANCE_ID", "secret": "names", "key": "instance"}],
    "services": [{"name": "pricing", "host": "pricing.default.svc", "port": 9000, "storeName": "prices"}],
    "dapr": {
        "redis": {"host": "redis.data:6380", "tls": True, "passwordSecret": "redis", "passwordKey": "password"},
        "apiTokenSecret": "dapr-token", "configuration": "tracing", "nativeSidecar": False,
        "annotations": {"dapr.io/enable-metrics": "false"},
    },
    "service": {"type": "LoadBalancer", "annotations": {"example.com/a": "b"}},
    "moduleResources": {"workmanager": {"requests": {"cpu": "2"}}},
    "imagePullSecrets": [{"name": "pull"}], "priorityClassName": "trading",
    "podAnnotations": {"example.com/c": "d"}, "podLabels": {"team": "x"},
    "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
RENDERED = {}
ALL = {"one pod": ONE_POD, "one pod, redis": REDIS, "one pod, jetstream": JETSTREAM,
       "three pods, redis": THREE_PODS, "three pods, jetstream": THREE_PODS_JETSTREAM,
       "everything": EVERYTHING}


class Chart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if yaml is None:
            raise unittest.SkipTest("no yaml for this Python: apt-get install python3-yaml")
        tools = subprocess.run(["sh", ROOT / "tools" / "helm.sh"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        if tools.returncode == 3:
            raise unittest.SkipTest(tools.stderr.strip())
        if tools.returncode != 0:
            raise AssertionError(tools.stderr)
        cls.tools = pathlib.Path(tools.stdout.strip())
        cls.kubernetes = (cls.tools / "kubernetes-version").read_text().strip()

    def helm(self, command, values, *arguments):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            return subprocess.run(
                [self.tools / "helm", *command, CHART, "--kube-version", self.kubernetes, "--values", file.name,
                 *arguments], capture_output=True, text=True)

    def render(self, values):
        """The manifests as text; once for each set of values."""
        key = json.dumps(values, sort_keys=True)
        if key not in RENDERED:
            done = self.helm(["template", "live"], values, "--namespace", "trading")
            self.assertEqual(done.returncode, 0, done.stderr)
            RENDERED[key] = done.stdout
        return RENDERED[key]

    def objects(self, values, kind):
        """By name."""
        documents = [found for found in yaml.safe_load_all(self.render(values)) if found]
        return {found["metadata"]["name"]: found for found in documents if found["kind"] == kind}

    def kubeconform(self, manifests):
        schemas = self.tools / "schemas" / "{{.ResourceKind}}{{.KindSuffix}}.json"
        return subprocess.run([self.tools / "kubeconform", "-strict", "-summary", "-schema-location", str(schemas)],
                              input=manifests, capture_output=True, text=True)

    def refused(self, values, *words):
        done = self.helm(["template", "live"], values)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)


class Schemas(Chart):
    def test_lint(self):
        for name, values in ALL.items():
            with self.subTest(name):
                done = self.helm(["lint", "--strict"], values)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_manifest_fits_its_schema(self):
        for name, values in ALL.items():
            with self.subTest(name):
                done = self.kubeconform(self.render(values))
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("Invalid: 0, Errors: 0, Skipped: 0", done.stdout)

    def test_the_schemas_refuse_what_is_wrong(self):
        manifests = self.render(REDIS)
        for right, wrong in (("readinessProbe:", "readynessProbe:"), ("replicas: 1", "replicas: one"),
                             ("secretStore:", "secretShop:"), ("containerPort: 5001", "containerPort: http")):
            with self.subTest(wrong):
                self.assertIn(right, manifests)
                self.assertNotEqual(self.kubeconform(manifests.replace(right, wrong)).returncode, 0)

    def test_wrong_values_are_refused(self):
        self.refused({"split": True}, "split: true needs bus: dapr")
        self.refused({"bus": "kafka"}, "'/bus'")
        self.refused({"env": {"GATEWAY_PORT": "1"}}, "GATEWAY_PORT")
        self.refused({"terminationGracePeriodSeconds": 5}, "'/terminationGracePeriodSeconds'")
        self.refused({"dapr": {"redis": {"host": "redis"}}}, "'/dapr/redis/host'")
        self.refused({**JETSTREAM, "dapr": {"broker": "jetstream", "jetstream": {"tokenSecret": "t"}}},
                     "createStreams")


class Pods(Chart):
    def container(self, values, deployment):
        spec = self.objects(values, "Deployment")[deployment]["spec"]["template"]["spec"]
        return spec, spec["containers"][0]

    def modules(self, container):
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        return [name for name in ("GATEWAY", "WSM", "WORKMANAGER")
                if environment[f"VIRTUFIN_MODULES__{name}"] == "true"]

    def test_one_pod_has_all_modules_and_a_volume(self):
        deployments = self.objects(ONE_POD, "Deployment")
        self.assertEqual(list(deployments), ["live-virtufin"])
        spec, container = self.container(ONE_POD, "live-virtufin")
        self.assertEqual(self.modules(container), ["GATEWAY", "WSM", "WORKMANAGER"])
        claim = next(volume for volume in spec["volumes"] if volume["name"] == "state")["persistentVolumeClaim"]
        self.assertEqual(list(self.objects(ONE_POD, "PersistentVolumeClaim")), [claim["claimName"]])
        self.assertEqual(self.objects(ONE_POD, "Component"), {})
        annotations = deployments["live-virtufin"]["spec"]["template"]["metadata"]["annotations"]
        self.assertFalse([name for name in annotations if name.startswith("dapr.io/")])

    def test_a_claim_of_ones_own_is_used_and_none_is_made(self):
        values = {"state": {"persistence": {"existingClaim": "orders"}}}
        spec, _ = self.container(values, "live-virtufin")
        state = next(volume for volume in spec["volumes"] if volume["name"] == "state")
        self.assertEqual(state["persistentVolumeClaim"]["claimName"], "orders")
        self.assertEqual(self.objects(values, "PersistentVolumeClaim"), {})

    def test_three_pods_have_a_module_and_a_sidecar_each(self):
        expected = {"gateway": ("apigateway", 5001), "wsm": ("websocketmanager", 15001),
                    "workmanager": ("workmanager", 25001)}
        deployments = self.objects(THREE_PODS, "Deployment")
        services = self.objects(THREE_PODS, "Service")
        self.assertEqual(sorted(deployments), sorted(f"live-virtufin-{name}" for name in expected))
        self.assertEqual(self.objects(THREE_PODS, "PersistentVolumeClaim"), {})
        for module, (app_id, http) in expected.items():
            name = f"live-virtufin-{module}"
            template = deployments[name]["spec"]["template"]
            container = template["spec"]["containers"][0]
            self.assertEqual(template["metadata"]["annotations"]["dapr.io/enabled"], "true")
            self.assertEqual(template["metadata"]["annotations"]["dapr.io/app-id"], app_id)
            self.assertEqual(self.modules(container), [module.upper()])
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            self.assertEqual(ports, {"http": http, "grpc": http + 1})
            served = {port["name"]: (port["port"], port["targetPort"]) for port in services[name]["spec"]["ports"]}
            self.assertEqual(served, {"http": (http, "http"), "grpc": (http + 1, "grpc")})
            labels = template["metadata"]["labels"].items()
            self.assertLessEqual(services[name]["spec"]["selector"].items(), labels)
            self.assertLessEqual(deployments[name]["spec"]["selector"]["matchLabels"].items(), labels)

    def test_dapr_knows_every_annotation(self):
        known = (self.tools / "dapr-annotations").read_text().split()
        for name, values in ALL.items():
            for deployment in self.objects(values, "Deployment").values():
                annotations = deployment["spec"]["template"]["metadata"]["annotations"]
                given = {annotation for annotation in annotations if annotation.startswith("dapr.io/")}
                with self.subTest(name, pod=deployment["metadata"]["name"]):
                    self.assertLessEqual(given, set(known))

    def test_the_gateway_finds_the_other_pods(self):
        def services(values):
            config = self.objects(values, "ConfigMap")["live-virtufin"]["data"]
            return json.loads(config["services.json"])["services"]

        self.assertEqual(services(ONE_POD), [])
        self.assertEqual([(entry["name"], entry["grpc"]) for entry in services(EVERYTHING)], [
            ("websocketmanager", {"host": "live-virtufin-wsm", "port": 15002}),
            ("workmanager", {"host": "live-virtufin-workmanager", "port": 25002}),
            ("pricing", {"host": "pricing.default.svc", "port": 9000})])
        self.assertEqual(services(EVERYTHING)[2]["state"], {"storeName": "prices"})

    def test_no_pod_may_more_than_it_must(self):
        for name, values in ALL.items():
            manifests = self.objects(values, "Deployment") | self.objects(values, "Job")
            for manifest in manifests.values():
                with self.subTest(name, pod=manifest["metadata"]["name"]):
                    spec = manifest["spec"]["template"]["spec"]
                    self.assertFalse(spec["automountServiceAccountToken"])
                    self.assertTrue(spec["securityContext"]["runAsNonRoot"])
                    self.assertGreater(spec["securityContext"]["runAsUser"], 0)
                    self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    for container in spec["containers"]:
                        self.assertEqual(container["securityContext"], {
                            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}})
                        self.assertIn("memory", container["resources"].get("limits", {"memory": ""}))

    def test_probes_ask_the_endpoints_that_there_are(self):
        for values in (ONE_POD, THREE_PODS):
            for name in self.objects(values, "Deployment"):
                _, container = self.container(values, name)
                paths = {probe: container[probe]["httpGet"] for probe in
                         ("startupProbe", "livenessProbe", "readinessProbe")}
                self.assertEqual(paths, {"startupProbe": {"path": "/livez", "port": "http"},
                                         "livenessProbe": {"path": "/livez", "port": "http"},
                                         "readinessProbe": {"path": "/readyz", "port": "http"}})

    def test_secrets_are_referred_to_and_never_written(self):
        _, container = self.container(EVERYTHING, "live-virtufin-gateway")
        environment = {entry["name"]: entry for entry in container["env"]}
        self.assertEqual(environment["DAPR_API_TOKEN"]["valueFrom"]["secretKeyRef"],
                         {"name": "dapr-token", "key": "token"})
        self.assertEqual(environment["VIRTUFIN_PROCESS__INSTANCE_ID"]["valueFrom"]["secretKeyRef"],
                         {"name": "names", "key": "instance"})
        store = self.objects(EVERYTHING, "Component")["statestore"]
        metadata = {entry["name"]: entry for entry in store["spec"]["metadata"]}
        self.assertEqual(metadata["redisPassword"]["secretKeyRef"], {"name": "redis", "key": "password"})
        self.assertEqual(metadata["redisHost"]["value"], "redis.data:6380")
        self.assertEqual(metadata["enableTLS"]["value"], "true")
        self.assertEqual(store["auth"], {"secretStore": "kubernetes"})

    def test_other_values_are_another_pod(self):
        def checksum(values):
            template = self.objects(values, "Deployment")["live-virtufin"]["spec"]["template"]
            return template["metadata"]["annotations"]["checksum/config"]

        self.assertEqual(checksum({}), checksum({"service": {"type": "NodePort"}}))
        self.assertNotEqual(checksum({}), checksum({"config": "[log]\nlevel = \"warn\"\n"}))


class Components(Chart):
    """The cluster's components are those that the platform is tested with."""

    def test_they_are_the_files_but_for_addresses(self):
        for broker, values in (("redis", REDIS), ("jetstream", THREE_PODS_JETSTREAM)):
            files = [document for name in ("pubsub", "statestore")
                     for document in yaml.safe_load_all((ROOT / "config/dapr" / broker / f"{name}.yaml").read_text())]
            rendered = self.objects(values, "Component")
            self.assertEqual(list(rendered), [component["metadata"]["name"] for component in files])
            for component in files:
                with self.subTest(broker, component=component["metadata"]["name"]):
                    ours = rendered[component["metadata"]["name"]]
                    self.assertEqual(ours["spec"]["type"], component["spec"]["type"])
                    self.assertEqual(self.without_addresses(ours), self.without_addresses(component))
                    addresses = {entry["name"]: entry["value"] for entry in ours["spec"]["metadata"]
                                 if entry["name"] in ADDRESSES}
                    self.assertIn(addresses, [{"redisHost": "redis-master:6379"}, {"natsURL": "nats://nats:4222"}])

    def without_addresses(self, component):
        return [entry for entry in component["spec"]["metadata"] if entry["name"] not in ADDRESSES]

    def test_only_our_sidecars_load_them(self):
        for values, scopes in ((REDIS, ["virtufin"]),
                               (THREE_PODS, ["apigateway", "websocketmanager", "workmanager"])):
            for component in self.objects(values, "Component").values():
                self.assertEqual(component["scopes"], scopes)

    def test_jetstream_gets_its_streams_first(self):
        job = self.objects(JETSTREAM, "Job")["live-virtufin-streams"]
        self.assertEqual(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade")
        container = job["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["command"], ["python3", "/scripts/streams.py", "nats:4222"])
        script = self.objects(JETSTREAM, "ConfigMap")["live-virtufin-streams"]["data"]["streams.py"]
        self.assertEqual(script.strip(), (ROOT / "config/dapr/streams.py").read_text().strip())
        self.assertEqual(self.objects(REDIS, "Job"), {})


class Configuration(Chart):
    """The binary takes what the pods are given."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not BINARY.exists():
            raise unittest.SkipTest(f"no {BINARY} to ask: build first, or set VIRTUFIN_BUILD")

    def test_in_memory(self):
        self.check({"one pod": ONE_POD})

    def test_over_dapr(self):
        known = subprocess.run([BINARY, "config", "--effective"], check=True, stdout=subprocess.PIPE, text=True)
        if "[bus.dapr]" not in known.stdout:
            raise unittest.SkipTest(f"{BINARY} has no bus over Dapr")
        self.check({name: values for name, values in ALL.items() if values})

    def check(self, cases):
        for name, values in cases.items():
            config = self.objects(values, "ConfigMap")["live-virtufin"]["data"]
            for deployment in self.objects(values, "Deployment").values():
                container = deployment["spec"]["template"]["spec"]["containers"][0]
                with self.subTest(name, pod=deployment["metadata"]["name"]), \
                        tempfile.TemporaryDirectory(prefix="virtufin-chart-") as folder:
                    for file, text in config.items():
                        (pathlib.Path(folder) / file).write_text(text)
                    environment = {entry["name"]: entry.get("value", "secret").replace("/etc/virtufin", folder)
                                   for entry in container["env"]}
                    done = subprocess.run([BINARY, "check", "--config", f"{folder}/virtufin.toml"], env=environment,
                                          capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
