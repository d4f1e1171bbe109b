/** The manifests of examples/kubernetes, and the volumes of a pod of theirs as a kubelet would lay them out in a directory. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ICertificate } from '@kubernetes-models/cert-manager/cert-manager.io/v1';
import type { IDeployment } from 'kubernetes-models/apps/v1';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';
import type { IConfigMap, IContainer, INamespace, IPodSpec, IService } from 'kubernetes-models/v1';
import { parseAllDocuments } from 'yaml';
import type { CertificateAuthority } from './certificates.ts';

/** The repository. */
export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));

/** The manifests' folder. */
export const KUBERNETES: string = join(ROOT, 'examples/kubernetes');

/** What each kind is. */
interface Kinds {
  Certificate: ICertificate;
  ConfigMap: IConfigMap;
  Deployment: IDeployment;
  HorizontalPodAutoscaler: IHorizontalPodAutoscaler;
  Namespace: INamespace;
  NetworkPolicy: INetworkPolicy;
  PodDisruptionBudget: IPodDisruptionBudget;
  Service: IService;
}

/** One object of one file. */
export interface Manifest {
  readonly file: string;
  readonly object: Kinds[keyof Kinds];
}

/** The documents of a file: YAML 1.1, as Kubernetes reads it, in which 0440 is octal. */
export function readYaml(file: string): unknown[] {
  const text = readFileSync(file, 'utf8');
  return parseAllDocuments(text, { version: '1.1', uniqueKeys: true, strict: true }).map((read) => {
    if ('errors' in read && read.errors.length + read.warnings.length > 0) {
      throw new Error(`${file}: ${[...read.errors, ...read.warnings].join('\n')}`);
    }
    return read.toJS();
  });
}

/** Every object of the folder; kustomization.yaml is none. */
export function readManifests(): Manifest[] {
  return readdirSync(KUBERNETES)
    .filter((file) => file.endsWith('.yaml') && file !== 'kustomization.yaml')
    .sort()
    .flatMap((file) =>
      readYaml(join(KUBERNETES, file)).map((object) => ({
        file,
        object: object as Manifest['object'],
      })),
    );
}

/** The one object of a kind with that name; throws when there is none. */
export function manifest<K extends keyof Kinds>(kind: K, name = 'pgtls'): Kinds[K] {
  const found = readManifests().find(
    ({ object }) => object.kind === kind && object.metadata?.name === name,
  );
  if (found === undefined) {
    throw new Error(`no ${kind} ${name} in ${KUBERNETES}`);
  }
  return found.object as Kinds[K];
}

/** The pod of a Deployment, and its container that runs pgtls. */
export function podOf(deployment: IDeployment): { pod: IPodSpec; container: IContainer } {
  const pod = deployment.spec?.template.spec;
  const containers = [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])];
  const container = containers.find(({ name }) => name === 'pgtls');
  if (pod == null || container === undefined) {
    throw new Error(`no container pgtls in ${deployment.metadata?.name}`);
  }
  return { pod, container };
}

/** Files by name. */
export type Files = Readonly<Record<string, string>>;

/** One `kubectl create` of the README. */
export interface Creation {
  readonly object: string;
  readonly key: string;
  /** As the shell gets it. */
  readonly value: string;
}

/** What the README has made by hand: `Secret/NAME` or `ConfigMap/NAME`, with its one key. */
export function readmeCreations(): Creation[] {
  const text = readFileSync(join(KUBERNETES, 'README.md'), 'utf8');
  const command = / create (secret generic|configmap) (\S+) --from-(?:literal|file)=(\S+?)=(.+)$/gm;
  return [...text.matchAll(command)].map(([, kind, name, key = '', value = '']) => ({
    object: `${kind === 'configmap' ? 'ConfigMap' : 'Secret'}/${name}`,
    key,
    value,
  }));
}

/** What the objects of a cluster hold once everything of the README is done: files by `Secret/NAME` and `ConfigMap/NAME`. */
export async function clusterObjects(
  authority: CertificateAuthority,
): Promise<ReadonlyMap<string, Files>> {
  const values: Files = {
    'Secret/pgtls-ticket-keys': `${randomBytes(64).toString('base64')}\n`,
    'Secret/pgtls-admin': randomBytes(32).toString('hex'),
    'ConfigMap/pgtls-backend-ca': authority.certPem,
  };
  const objects = new Map<string, Files>();
  for (const { object, key } of readmeCreations()) {
    objects.set(object, { [key]: values[object] ?? '' });
  }
  for (const { object } of readManifests()) {
    if (object.kind === 'ConfigMap') {
      objects.set(`ConfigMap/${object.metadata?.name}`, (object as IConfigMap).data ?? {});
    } else if (object.kind === 'Certificate') {
      const certificate = object as ICertificate;
      objects.set(
        `Secret/${certificate.spec?.secretName}`,
        await issuedFor(certificate, authority),
      );
    }
  }
  return objects;
}

/** What cert-manager would put into the Secret. */
export async function issuedFor(
  { spec }: ICertificate,
  authority: CertificateAuthority,
): Promise<Files> {
  const names = spec?.dnsNames ?? [];
  const leaf = await authority.issue({ commonName: names[0] ?? '', names });
  return { 'tls.crt': leaf.certPem, 'tls.key': leaf.keyPem, 'ca.crt': authority.certPem };
}

/** An example's configuration with ports that are free, a server on this machine, and a drain that doesn't take long. */
export function onThisMachine(toml: string, serverPort: number): string {
  return toml
    .replaceAll(/"(?<host>(?:0\.0\.0\.0|127\.0\.0\.1):)\d+"/g, '"$<host>0"')
    .replace(/address = "postgres[^"]*"/, `address = "localhost:${serverPort}"`)
    .replaceAll(/shutdown_(delay|timeout) = "[^"]*"/g, 'shutdown_$1 = "100ms"');
}

/** The volumes of a pod's pgtls container below a directory that stands for the root of its file system. */
export class PodVolumes {
  readonly root: string;
  readonly #fsGroup: number;
  #version = 0;

  /** Lays out all that are mounted; throws when one is of an object that nobody makes. */
  constructor(root: string, deployment: IDeployment, objects: ReadonlyMap<string, Files>) {
    const { pod, container } = podOf(deployment);
    this.root = root;
    this.#fsGroup = pod.securityContext?.fsGroup ?? 0;
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const volume = pod.volumes?.find((candidate) => candidate.name === name);
      mkdirSync(join(root, mountPath), { recursive: true });
      const object =
        volume?.secret == null
          ? volume?.configMap == null
            ? null
            : `ConfigMap/${volume.configMap.name}`
          : `Secret/${volume.secret.secretName}`;
      if (object !== null) {
        const files = objects.get(object);
        if (files === undefined) {
          throw new Error(`nobody makes ${object}, which volume ${name} is of`);
        }
        this.put(mountPath, files, volume?.secret?.defaultMode ?? 0o644);
      }
    }
  }

  /** Exchanges the files of a mount as a kubelet does: another directory, and the link `..data` to it in one step. */
  put(mountPath: string, files: Files, mode: number): void {
    const directory = join(this.root, mountPath);
    this.#version += 1;
    const version = `..version_${this.#version}`;
    mkdirSync(join(directory, version));
    for (const [name, content] of Object.entries(files)) {
      this.#write(join(directory, version, name), content, mode);
      rmSync(join(directory, name), { force: true });
      symlinkSync(`..data/${name}`, join(directory, name));
    }
    symlinkSync(version, join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
  }

  /** A configuration in which every path of the container leads into these volumes. */
  located(toml: string): string {
    return toml.replaceAll(/"(unix:)?\/(?=etc|run)/g, `"$1${this.root}/`);
  }

  /** Owned by root and the pod's group. Tests of anybody else own the file, and PostgreSQL's rule gives the group nothing then. */
  #write(file: string, content: string, mode: number): void {
    const isRoot = process.getuid?.() === 0;
    writeFileSync(file, content);
    if (isRoot) {
      chownSync(file, 0, this.#fsGroup);
    }
    chmodSync(file, isRoot ? mode : mode & 0o700);
  }
}
