/**
 * What the admin server sees of the running proxy. Everything is asked for anew each time, since a reload may have changed it.
 */
import type { Config } from '../../config/schema.ts';
import type { DataPlaneSnapshot } from '../../data-plane/data-plane.ts';

/** A bound listener. */
export interface ListenerView {
  readonly routeId: number;
  readonly address: string;
  readonly negotiatingCount: number;
}

/** The proxy from the start of its listeners on. */
export interface RunningView {
  readonly config: () => Config;
  /** Of the routes, by id. */
  readonly routeName: (routeId: number) => string;
  /** Throws once the data plane is closed. */
  readonly snapshot: () => DataPlaneSnapshot;
  readonly listeners: () => readonly ListenerView[];
}
