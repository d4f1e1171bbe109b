/** The bill of materials: everything that is shipped, and nothing else. */
import { beforeAll, describe, expect, it } from 'vitest';
import { cargoDependencies, npmDependencies } from '../../scripts/lib/licences.mjs';
import { billOfMaterials } from '../../scripts/lib/sbom.mjs';

interface Component {
  readonly 'bom-ref': string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly purl?: string;
}

describe('the bill of materials', () => {
  let components: readonly Component[] = [];
  let dependencies: readonly { ref: string; dependsOn: readonly string[] }[] = [];

  beforeAll(() => {
    ({ components, dependencies } = billOfMaterials() as never);
  });

  /** By the kind of their package URLs, as `name version`. */
  const listed = (kind: string) =>
    components
      .filter(({ purl = '' }) => purl.startsWith(`pkg:${kind}/`))
      .map(
        ({ group, name, version }) => `${group === undefined ? '' : `${group}/`}${name} ${version}`,
      )
      .sort();
  const named = (shipped: readonly { name: string; version: string }[]) =>
    shipped.map(({ name, version }) => `${name} ${version}`).sort();

  it('has every npm package that is installed with pgtls, also those that a development dependency needs, too', () => {
    expect(listed('npm')).toEqual(named(npmDependencies()));
    expect(listed('npm').join()).toMatch(/@opentelemetry\/api .*smol-toml /);
  });

  it('has every crate of the addon', () => {
    expect(listed('cargo')).toEqual(named(cargoDependencies()));
  });

  it('gives our own crates no package URL: they are in no registry', () => {
    const ours = components.filter(({ purl }) => purl === undefined).map(({ name }) => name);
    expect(ours).toEqual(['pgtls-core', 'pgtls-napi', 'pgtls-tls', 'pgtls-wire']);
  });

  it('names in its dependencies what it lists', () => {
    const known = new Set(components.map((component) => component['bom-ref']));
    const needed = dependencies.flatMap(({ dependsOn }) => dependsOn);
    expect(needed.filter((reference) => !known.has(reference))).toEqual([]);
    const [root] = dependencies;
    expect(root?.dependsOn).toContainEqual(expect.stringMatching(/^pgtls-napi@/));
  });
});
