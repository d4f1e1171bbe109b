/** examples/kubernetes: the schemas of Kubernetes and cert-manager, pgtls's own configuration reader, and what must agree between files. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Certificate } from '@kubernetes-models/cert-manager/cert-manager.io/v1';
import { Deployment, type IDeployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ConfigMap, type IProbe, Namespace, Service } from 'kubernetes-models/v1';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { tokenProblem } from '../../src/config/admin.ts';
import { loadConfig } from '../../src/config/parse.ts';
import type { Config } from '../../src/config/schema.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import {
  clusterObjects,
  type Files,
  KUBERNETES,
  manifest,
  PodVolumes,
  podOf,
  ROOT,
  readManifests,
  readmeCreations,
  readYaml,
} from '../support/examples.ts';

/** The model of each kind, and the module that has it. */
const MODELS = {
  Certificate: [Certificate, '@kubernetes-models/cert-manager/cert-manager.io/v1'],
  ConfigMap: [ConfigMap, 'kubernetes-models/v1'],
  Deployment: [Deployment, 'kubernetes-models/apps/v1'],
  HorizontalPodAutoscaler: [HorizontalPodAutoscaler, 'kubernetes-models/autoscaling/v2'],
  Namespace: [Namespace, 'kubernetes-models/v1'],
  NetworkPolicy: [NetworkPolicy, 'kubernetes-models/networking.k8s.io/v1'],
  PodDisruptionBudget: [PodDisruptionBudget, 'kubernetes-models/policy/v1'],
  Service: [Service, 'kubernetes-models/v1'],
} as const;

/** For clients that take their time to read 57P01, beyond the two times of the configuration. */
const FAREWELL_MILLIS = 10_000;

let objects: ReadonlyMap<string, Files>;

beforeAll(async () => {
  objects = await clusterObjects(await CertificateAuthority.create('example CA'));
});

/** What pgtls makes of the configuration that a Deployment's container is started with. */
function configOf(deployment: IDeployment): { config: Config; warnings: readonly unknown[] } {
  const root = mkdtempSync(join(tmpdir(), 'pod-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const volumes = new PodVolumes(root, deployment, objects);
  const { container } = podOf(deployment);
  const [option, path = ''] = container.args ?? [];
  expect(option).toBe('-c');
  const [, mountPath = '', name = ''] = /^(.*)\/([^/]+)$/.exec(path) ?? [];
  const files = objects.get(`ConfigMap/${configMapAt(deployment, mountPath)}`) ?? {};
  volumes.put(mountPath, { [name]: volumes.located(files[name] ?? '') }, 0o644);
  return loadConfig(join(root, path), {});
}

function configMapAt(deployment: IDeployment, mountPath: string): string | undefined {
  const { pod, container } = podOf(deployment);
  const mount = container.volumeMounts?.find((candidate) => candidate.mountPath === mountPath);
  return pod.volumes?.find(({ name }) => name === mount?.name)?.configMap?.name;
}

/** One source file with every manifest as a literal of its type: for literals, tsc refuses fields that the type doesn't have. */
function typedLiterals(): string {
  const imports = Object.entries(MODELS).map(
    ([kind, [, module]]) => `import type { I${kind} } from '${module}';`,
  );
  const literals = readManifests().map(
    ({ file, object }, index) =>
      `// ${file}\nexport const object${index}: I${object.kind} = ${JSON.stringify(object)};`,
  );
  return [...imports, ...literals].join('\n');
}

/** What tsc says of a source file; null = nothing. */
function typeErrors(source: string): string | null {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const directory = mkdtempSync(join(ROOT, '.cache/manifests-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'manifests.mts'), source);
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--module',
    'nodenext',
    '--strict',
    '--skipLibCheck',
  ];
  try {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, ...options, join(directory, 'manifests.mts')]);
    return null;
  } catch (error) {
    return String((error as { stdout?: unknown }).stdout);
  }
}

describe('every manifest', () => {
  test.each(
    readManifests().map(({ file, object }) => ({ file, object, name: object.metadata?.name })),
  )('is valid by the schema of its kind: $object.kind $name ($file)', ({ object }) => {
    const [Model] = MODELS[object.kind];
    expect(object.apiVersion).toBe(Model.apiVersion);
    expect(() => new Model(object as never).validate()).not.toThrow();
  });

  test('has no field that its kind does not know', () => {
    expect(typeErrors(typedLiterals())).toBeNull();
    expect(typeErrors(typedLiterals().replace('"maxUnavailable"', '"maxUnavailabel"'))).toContain(
      'maxUnavailabel',
    );
  });

  test('is in kustomization.yaml, but for the sidecar, and in its namespace', () => {
    const [kustomization] = readYaml(join(KUBERNETES, 'kustomization.yaml')) as [
      { resources: string[]; namespace: string; images: { name: string }[] },
    ];
    const files = readdirSync(KUBERNETES).filter((file) => file.endsWith('.yaml'));
    expect([...kustomization.resources, 'kustomization.yaml', 'sidecar.yaml'].sort()).toEqual(
      files.sort(),
    );
    expect(kustomization.images.map(({ name }) => name)).toEqual([
      podOf(manifest('Deployment')).container.image,
    ]);
    const namespaces = readManifests()
      .filter(({ file, object }) => file !== 'sidecar.yaml' && object.kind !== 'Namespace')
      .map(({ object }) => object.metadata?.namespace);
    expect(new Set(namespaces)).toEqual(new Set([kustomization.namespace]));
    expect(manifest('Namespace').metadata?.name).toBe(kustomization.namespace);
  });

  test('that selects pods selects those of the Deployment', () => {
    const { selector, template } = manifest('Deployment').spec ?? expect.fail('no spec');
    const labels = template.metadata?.labels;
    expect(selector.matchLabels).toEqual(labels);
    expect(manifest('PodDisruptionBudget').spec?.selector?.matchLabels).toEqual(labels);
    expect(manifest('NetworkPolicy').spec?.podSelector?.matchLabels).toEqual(labels);
    expect(manifest('Service').spec?.selector).toEqual(labels);
    expect(manifest('Service', 'pgtls-admin').spec?.selector).toEqual(labels);
    for (const { labelSelector } of template.spec?.topologySpreadConstraints ?? []) {
      expect(labelSelector?.matchLabels).toEqual(labels);
    }
    expect(manifest('HorizontalPodAutoscaler').spec?.scaleTargetRef).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      name: 'pgtls',
    });
  });
});

describe.each(['pgtls', 'orders'])('the Deployment %s', (name) => {
  const deployment = manifest('Deployment', name);
  const { pod, container } = podOf(deployment);

  test('mounts every file that its pgtls.toml names, and pgtls takes it without a warning', () => {
    expect(configOf(deployment).warnings).toEqual([]);
  });

  test('leaves pgtls more time than shutdown_delay and shutdown_timeout take', () => {
    const { shutdownDelayMillis, shutdownTimeoutMillis } = configOf(deployment).config;
    expect((pod.terminationGracePeriodSeconds ?? 30) * 1000).toBeGreaterThan(
      shutdownDelayMillis + shutdownTimeoutMillis + FAREWELL_MILLIS,
    );
  });

  test('runs pgtls as a numeric user without any privilege, and lets it write nothing', () => {
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect({ ...pod.securityContext, ...container.securityContext }).toMatchObject({
      runAsUser: 10001,
      runAsGroup: 10001,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod.automountServiceAccountToken).toBe(false);
  });

  test('mounts whole volumes, which follow a change, and Secrets with mode 0440 for its group', () => {
    for (const mount of container.volumeMounts ?? []) {
      expect(mount.subPath).toBeUndefined();
      const volume = pod.volumes?.find((candidate) => candidate.name === mount.name);
      expect(mount.readOnly ?? false).toBe(volume?.emptyDir === undefined);
    }
    const secrets = pod.volumes?.flatMap(({ secret }) => secret ?? []) ?? [];
    expect(secrets.map(({ defaultMode }) => defaultMode)).toEqual(secrets.map(() => 0o440));
    expect(pod.securityContext?.fsGroup).toBeGreaterThan(0);
  });
});

describe('the Deployment pgtls', () => {
  const deployment = manifest('Deployment');
  const { container } = podOf(deployment);

  test('never has fewer pods during an update, and leaves their number to the autoscaler', () => {
    expect(deployment.spec?.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
    });
    expect(deployment.spec).not.toHaveProperty('replicas');
    const { minReplicas = 1, behavior } = manifest('HorizontalPodAutoscaler').spec ?? {};
    expect(minReplicas).toBeGreaterThan(
      Number(manifest('PodDisruptionBudget').spec?.maxUnavailable),
    );
    const [slowest] = behavior?.scaleDown?.policies ?? [];
    expect(slowest?.periodSeconds).toBeGreaterThan(
      podOf(deployment).pod.terminationGracePeriodSeconds ?? 30,
    );
    expect(container.resources?.requests).toHaveProperty('cpu');
  });

  test('has the ports of its configuration, and the Services and the NetworkPolicy lead there', () => {
    const { admin, proxies } = configOf(deployment).config;
    const [address] = proxies[0]?.listener.bindAddresses ?? [];
    const listened = address?.kind === 'tcp' ? address.port : 0;
    expect(container.ports).toEqual([
      { name: 'postgres', containerPort: listened },
      { name: 'admin', containerPort: admin?.bindAddress.port },
    ]);
    expect(manifest('Service').spec?.ports?.[0]?.targetPort).toBe('postgres');
    expect(manifest('Service', 'pgtls-admin').spec?.ports?.[0]).toMatchObject({
      targetPort: 'admin',
      port: admin?.bindAddress.port,
    });
    const allowed = manifest('NetworkPolicy').spec?.ingress?.flatMap(({ ports }) => ports ?? []);
    expect(allowed?.map(({ port }) => port)).toEqual([listened, admin?.bindAddress.port]);
    const served = proxies.flatMap(({ backend }) => backend.addresses);
    const out = manifest('NetworkPolicy').spec?.egress?.flatMap(({ ports }) => ports ?? []);
    for (const server of served) {
      expect(out?.map(({ port }) => port)).toContain(server.kind === 'tcp' ? server.port : null);
    }
  });

  test('asks the admin server that it configures whether it is ready, with TLS as that has', () => {
    const { admin } = configOf(deployment).config;
    const asks = (probe: IProbe | undefined) => probe?.httpGet;
    const scheme = admin?.identity === null ? 'HTTP' : 'HTTPS';
    expect(asks(container.readinessProbe)).toEqual({ path: '/readyz', port: 'admin', scheme });
    expect(asks(container.livenessProbe)).toEqual({ path: '/healthz', port: 'admin', scheme });
    expect(admin?.bindAddress.host).toBe('0.0.0.0');
    expect(admin?.authTokenFile).not.toBeNull();
    expect(container).not.toHaveProperty('lifecycle');
  });

  test('has gone from every node when shutdown_delay ends: several probes fit in', () => {
    const { shutdownDelayMillis } = configOf(deployment).config;
    const { periodSeconds = 10, failureThreshold = 3 } = container.readinessProbe ?? {};
    expect(shutdownDelayMillis).toBeGreaterThanOrEqual(periodSeconds * failureThreshold * 1000);
  });

  test('shares its ticket keys between pods, and gives the certificate of cert-manager', () => {
    const [proxy] = configOf(deployment).config.proxies;
    const { spec } = manifest('Certificate');
    expect(proxy?.listener.sessionTickets).toBe(1);
    expect(proxy?.listener.ticketKeyFile).toMatch(/\/etc\/pgtls\/ticket-keys\/keys$/);
    expect(objects.has(`Secret/${spec?.secretName}`)).toBe(true);
    expect(spec?.dnsNames).toContain('pgtls.pgtls.svc');
    expect(spec?.usages).toContain('server auth');
  });
});

describe('the sidecar', () => {
  const deployment = manifest('Deployment', 'orders');
  const { pod, container } = podOf(deployment);

  test('serves plaintext inside the pod only, and speaks verified TLS to the server', () => {
    const { proxies } = configOf(deployment).config;
    expect(proxies.map(({ listener }) => listener.sslmode)).toEqual(['disable']);
    const addresses = proxies.flatMap(({ listener }) => listener.bindAddresses);
    expect(addresses.map((address) => ('host' in address ? address.host : address.kind))).toEqual([
      'unix',
      '127.0.0.1',
    ]);
    expect(proxies[0]?.backend).toMatchObject({ sslmode: 'verify-full' });
    expect(container.ports).toBeUndefined();
  });

  test('is there before the application and after it, on a socket that both can open', () => {
    expect(pod.initContainers).toContain(container);
    expect(container.restartPolicy).toBe('Always');
    const [application] = pod.containers;
    const mountPath = application?.env?.find(({ name }) => name === 'PGHOST')?.value;
    const socket = { name: 'socket', mountPath };
    expect(application?.volumeMounts).toEqual([socket]);
    expect(container.volumeMounts).toContainEqual(socket);
    expect(container.startupProbe?.exec?.command?.join(' ')).toContain(
      `${mountPath}/.s.PGSQL.5432`,
    );
  });
});

test('the scrape configuration in examples/monitoring finds every pod, and checks a name that the certificate has', () => {
  const text = readFileSync(join(ROOT, 'examples/monitoring/README.md'), 'utf8');
  const [, block = ''] = /## In Kubernetes[\s\S]*?```yaml\n([\s\S]*?)```/.exec(text) ?? [];
  const [scrape] = parse(block).scrape_configs;
  const { metadata, spec } = manifest('Service', 'pgtls-admin');
  expect(scrape.dns_sd_configs).toEqual([
    {
      names: [`${metadata?.name}.${metadata?.namespace}.svc`],
      type: 'A',
      port: spec?.ports?.[0]?.port,
    },
  ]);
  expect(manifest('Certificate').spec?.dnsNames).toContain(scrape.tls_config.server_name);
});

test('the README gives the grace period that deployment.yaml has', () => {
  const { pod } = podOf(manifest('Deployment'));
  const { shutdownDelayMillis, shutdownTimeoutMillis } = configOf(manifest('Deployment')).config;
  const sum = [shutdownDelayMillis, shutdownTimeoutMillis, FAREWELL_MILLIS].map((n) => n / 1000);
  const text = readFileSync(join(KUBERNETES, 'README.md'), 'utf8');
  expect(text).toContain(`${pod.terminationGracePeriodSeconds} > ${sum.join(' + ')}`);
});

test.skipIf(spawnSync('openssl', ['version']).status !== 0)(
  'the commands of the README make a ticket key and a token that pgtls takes',
  () => {
    const made = new Map(
      readmeCreations()
        .filter(({ object }) => object.startsWith('Secret/'))
        .map(({ object, value }) => [
          object,
          execFileSync('sh', ['-c', `printf %s ${value}`], { encoding: 'utf8' }),
        ]),
    );
    expect([...made.keys()]).toEqual(['Secret/pgtls-ticket-keys', 'Secret/pgtls-admin']);
    expect(made.get('Secret/pgtls-ticket-keys')).toMatch(/^[A-Za-z0-9+/]{86}==$/);
    expect(tokenProblem(made.get('Secret/pgtls-admin') ?? '')).toBeNull();
  },
);

test.each(['kubernetes', 'docker', 'monitoring'])(
  'every file that the README of %s links to is there',
  (name) => {
    const directory = join(ROOT, 'examples', name);
    const text = readFileSync(join(directory, 'README.md'), 'utf8');
    const links = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path = '']) => path);
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((path) => !existsSync(join(directory, path)))).toEqual([]);
  },
);
