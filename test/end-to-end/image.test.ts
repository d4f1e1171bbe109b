/**
 * What the image of examples/docker holds, run as a container would run it: as its numeric user, without capabilities or supplementary
 * groups, on a file system that is mounted read-only, with the volumes of the Deployment. Needs Linux, root and a mount namespace.
 */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { CertificateAuthority } from '../support/certificates.ts';
import { readImage } from '../support/docker-image.ts';
import {
  clusterObjects,
  issuedFor,
  manifest,
  onThisMachine,
  PodVolumes,
  podOf,
  ROOT,
} from '../support/examples.ts';
import { material } from '../support/material.ts';
import { ask, openNegotiatedTls, startSession } from '../support/raw-client.ts';
import type { LogLine } from '../support/running-proxy.ts';
import { until, WAIT_MILLIS, within } from '../support/until.ts';

const SERVER_NAME = 'pgtls.pgtls.svc';
/** Makes all that there is read-only, then becomes the image's user for good, and the program. */
const CONTAIN = `user=$1 primary=$2 groups=$3 path=$4; shift 4
mount -o remount,ro,bind / && exec setpriv --reuid "$user" --regid "$primary" --groups "$groups" \
  --bounding-set=-all --inh-caps=-all --no-new-privs env -i PATH="$path" "$@"`;

const execute = promisify(execFile);
const cannotContain =
  spawnSync('unshare', ['--mount', 'sh', '-c', CONTAIN, 'sh', '1', '1', '1', '/bin', 'true'])
    .status !== 0;

let image: string;
let authority: CertificateAuthority;

beforeAll(async () => {
  image = mkdtempSync(join(tmpdir(), 'pgtls-image-'));
  chmodSync(image, 0o755);
  authority = await CertificateAuthority.create('example CA');
  if (!cannotContain) {
    fillImage(image);
  }
});

afterAll(() => rmSync(image, { recursive: true, force: true }));

/** What the last stage of the Dockerfile copies, of this working copy instead of the stage `build`. */
function fillImage(root: string): void {
  const program = join(root, 'opt/pgtls');
  const binding = 'crates/pgtls-napi/binding';
  for (const path of ['dist', 'package.json', ...productionPackages()]) {
    cpSync(join(ROOT, path), join(program, path), { recursive: true });
  }
  mkdirSync(join(program, binding), { recursive: true });
  const loaded = readdirSync(join(ROOT, binding)).filter((name) => name.endsWith('.node'));
  for (const name of loaded) {
    copyFileSync(
      join(ROOT, binding, name),
      join(program, binding, name),
      constants.COPYFILE_FICLONE,
    );
  }
  const bin = join(root, 'usr/local/bin');
  mkdirSync(bin, { recursive: true });
  copyFileSync(process.execPath, join(bin, 'node'), constants.COPYFILE_FICLONE);
  symlinkSync(join(program, 'dist/cli/main.js'), join(bin, 'pgtls'));
}

/** The folders of what `npm install --omit=dev --omit=optional` installs. */
function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  return Object.entries<Readonly<Record<string, unknown>>>(packages)
    .filter(([path, entry]) => path !== '' && !entry['dev'] && !entry['optional'] && !entry['peer'])
    .map(([path]) => path);
}

/** The command line that runs a program in the image, as its user. */
function contained(command: readonly string[], group: number): string[] {
  const [user = '', primary = ''] = readImage().user.split(':');
  const path = `${join(image, 'usr/local/bin')}:/usr/bin:/bin`;
  return ['--mount', 'sh', '-c', CONTAIN, 'sh', user, primary, String(group), path, ...command];
}

/** A running container, its log read line by line; killed when the test ends. */
class Container {
  readonly logs: LogLine[] = [];
  readonly #child;
  #other = '';

  constructor(args: readonly string[], group: number) {
    const command = contained([...readImage().entrypoint, ...args], group);
    this.#child = spawn('unshare', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.logs.push(JSON.parse(line));
    });
    this.#child.stderr.on('data', (chunk: Buffer) => {
      this.#other += chunk.toString();
    });
    onTestFinished(() => {
      this.#child.kill('SIGKILL');
    });
  }

  get output(): string {
    return [...this.logs.map((line) => JSON.stringify(line)), this.#other].join('\n');
  }

  get status(): string {
    return readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
  }

  /** How the root of its file system is mounted: `ro` or `rw`, and more. */
  get rootOptions(): string[] {
    const mounts = readFileSync(`/proc/${this.#child.pid}/mountinfo`, 'utf8').split('\n');
    const fields = mounts.map((line) => line.split(' ')).findLast((line) => line[4] === '/');
    return fields?.[5]?.split(',') ?? [];
  }

  /** The port that a listener or the admin server is bound to. */
  async port(event: 'listener.bind' | 'admin.bind'): Promise<number> {
    const line = await until(`${event} is logged`, () => this.find({ event }), {
      explain: () => this.output,
    });
    return Number(/:(\d+)$/.exec(String(line['listener_addr']))?.[1]);
  }

  find(fields: LogLine): LogLine | undefined {
    const wanted = Object.entries(fields);
    return this.logs.find((line) => wanted.every(([key, value]) => line[key] === value));
  }

  /** `docker stop`: the exit code. */
  async stop(): Promise<number | null> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const [code] = await within(WAIT_MILLIS, `pgtls ends\n${this.output}`, exited);
    return code;
  }
}

/** What a kubelet's probe gets: it doesn't look at the certificate. */
async function probed(port: number, path: string): Promise<number | undefined> {
  const asked = request({ host: '127.0.0.1', port, path, rejectUnauthorized: false, agent: false });
  asked.end();
  const [response]: IncomingMessage[] = await within(WAIT_MILLIS, path, once(asked, 'response'));
  response?.resume();
  return response?.statusCode;
}

/** The fingerprint of the certificate that a session of one query is shown. */
async function answers(port: number): Promise<string> {
  const tls = { ca: authority.certPem, servername: SERVER_NAME };
  const channel = await openNegotiatedTls(port, tls);
  await startSession(channel);
  expect(await ask(channel, 'select 1')).toEqual([['1']]);
  const { fingerprint256 } = channel.stream.getPeerCertificate();
  channel.destroy();
  return fingerprint256;
}

describe.skipIf(cannotContain)('without a container runtime, in a mount namespace of root', () => {
  test('the image serves as the Deployment runs it, and follows an exchange of its certificate', async () => {
    const deployment = manifest('Deployment');
    const { pod, container } = podOf(deployment);
    const objects = new Map(await clusterObjects(authority));
    objects.set('ConfigMap/pgtls-backend-ca', {
      'ca.crt': readFileSync(material().caFile, 'utf8'),
    });
    const volumes = new PodVolumes(join(image, 'pod'), deployment, objects);
    const [option = '', file = ''] = container.args ?? [];
    const toml = manifest('ConfigMap').data?.['pgtls.toml'] ?? '';
    volumes.put(
      dirname(file),
      { 'pgtls.toml': volumes.located(onThisMachine(toml, material().tls.port)) },
      0o644,
    );
    const group = pod.securityContext?.fsGroup ?? 0;
    const pgtls = new Container([option, join(volumes.root, file)], group);
    const port = await pgtls.port('listener.bind');
    const before = await answers(port);

    expect(pgtls.status).toMatch(/^Uid:\t10001\t10001\t10001\t10001$/m);
    expect(pgtls.status).toMatch(/^CapEff:\t0+$/m);
    expect(pgtls.status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(pgtls.rootOptions).toContain('ro');

    const admin = await pgtls.port('admin.bind');
    for (const { httpGet } of [container.readinessProbe, container.livenessProbe].flatMap(
      (probe) => probe ?? [],
    )) {
      expect(await probed(admin, httpGet?.path ?? '')).toBe(200);
    }

    volumes.put('/etc/pgtls/tls', await issuedFor(manifest('Certificate'), authority), 0o440);
    await until('the renewed certificate is served', async () => (await answers(port)) !== before, {
      explain: () => pgtls.output,
    });
    expect(pgtls.find({ event: 'cert.loaded' })).toBeDefined();
    expect(await pgtls.stop()).toBe(0);
  });

  test('the image is healthy by its own HEALTHCHECK, with the configuration of the quick start', async () => {
    const directory = join(image, 'quick-start');
    mkdirSync(join(directory, 'tls'), { recursive: true });
    const { certPem, keyPem } = await authority.issue({ commonName: 'x', names: [SERVER_NAME] });
    writeFileSync(join(directory, 'tls/tls.crt'), certPem);
    writeFileSync(join(directory, 'tls/tls.key'), keyPem, { mode: 0o400 });
    chownSync(join(directory, 'tls/tls.key'), Number(readImage().user.split(':')[0]), 0);
    const toml = readFileSync(join(ROOT, 'examples/docker/pgtls.toml'), 'utf8');
    writeFileSync(
      join(directory, 'pgtls.toml'),
      onThisMachine(toml, material().plain.port).replaceAll('"/etc/pgtls/', `"${directory}/`),
    );
    const pgtls = new Container(['-c', join(directory, 'pgtls.toml')], 10001);
    await answers(await pgtls.port('listener.bind'));
    const admin = await pgtls.port('admin.bind');
    const healthcheck = readImage().healthcheck.map((word) => word.replace(':9127/', `:${admin}/`));
    await execute('unshare', contained(healthcheck, 10001));
    expect(await pgtls.stop()).toBe(0);
    await expect(execute('unshare', contained(healthcheck, 10001))).rejects.toThrow();
  });
});
