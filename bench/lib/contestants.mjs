/** Who takes part: each contestant's set-up is in bench/against/. Here they are found, chosen, started and stopped. */
import { DIRECT } from '../against/direct.mjs';
import { NODE_TLS } from '../against/node-tls.mjs';
import { PGBOUNCER, PGBOUNCER_TRANSACTION } from '../against/pgbouncer.mjs';
import { FLOOR, PGTLS, PGTLS_WARM } from '../against/pgtls.mjs';
import { STUNNEL } from '../against/stunnel.mjs';

/** @typedef {'plain' | 'tls'} Leg whether the backend's leg has TLS */
/** @typedef {import('./stage.mjs').Certificate} Certificate */
/**
 * How one is to be started. `directory` is its own and exists; `port` is the backend's, on 127.0.0.1; `resumes` = clients will.
 * @typedef {{ directory: string, place: import('./pinning.mjs').Place, leg: Leg, certificate: Certificate, port: number,
 *   identity: import('./stage.mjs').ServerIdentity, workers?: number, resumes?: boolean }} Setting
 */
/**
 * One that runs. `pid` null = there is no proxy. Clients speak TLS to `port` if `clientTls`.
 * @typedef {{ pid: number | null, port: number, clientTls: boolean, stop: () => Promise<unknown> }} Running
 */
/**
 * What kind it is: a `relay` dials a backend for each client, a `pooler` has its own, the `floor` has no TLS at all.
 * @typedef {'direct' | 'floor' | 'pgtls' | 'relay' | 'pooler'} Kind
 */
/**
 * `missing` says why it can't take part here (null: it can), `lacks` why it can't be measured by one measure.
 * @typedef {{ name: string, kind: Kind, about: string, legs: readonly Leg[], missing: () => string | null,
 *   lacks?: (measure: string, variant: string) => string | null, version: () => string | null, start: (setting: Setting) => Promise<Running> }} Contestant
 */

/** @type {readonly Contestant[]} */
export const CONTESTANTS = [
  DIRECT,
  FLOOR,
  PGTLS,
  PGTLS_WARM,
  NODE_TLS,
  PGBOUNCER,
  PGBOUNCER_TRANSACTION,
  STUNNEL,
];

/** The label of a contestant with a leg: "pgtls", or "pgtls+tls" with TLS towards PostgreSQL, too. @param {Contestant} contestant @param {Leg} leg */
export function label({ name }, leg) {
  return leg === 'tls' ? `${name}+tls` : name;
}
