/** What the global set-up of the end-to-end tests hands to every test file, and access to it. */
import { inject } from 'vitest';

/** A running PostgreSQL cluster. */
export interface ClusterFacts {
  readonly port: number;
  /** Password of the superuser `postgres`. */
  readonly password: string;
  /** The unix socket's path. */
  readonly socketPath: string;
}

/** Everything that is shared by the end-to-end tests of a run. */
export interface TestMaterial {
  /** The cluster with ssl=off. */
  readonly plain: ClusterFacts;
  /** The cluster with ssl=on; its certificate names `localhost` only. */
  readonly tls: ClusterFacts;
  /** The authority of the cluster's certificate and of the client certificate below. */
  readonly caFile: string;
  /** The certificate and key of the cluster `tls`. */
  readonly serverCertFile: string;
  readonly serverKeyFile: string;
  /** A client certificate for the user `certified`. */
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    readonly material: TestMaterial;
  }
}

/** The shared material. */
export function material(): TestMaterial {
  return inject('material');
}
