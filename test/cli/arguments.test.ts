import { describe, expect, it } from 'vitest';
import { exitCodeOf, parseCommand } from '../../src/cli/arguments.ts';
import { ERROR_CODES, PgtlsError, type PgtlsErrorCode } from '../../src/errors.ts';

const NO_LOG_OPTIONS = { logLevel: null, logFormat: null };

describe('the command line', () => {
  it.each([
    [['-c', 'a.toml'], { kind: 'run', configPath: 'a.toml', ...NO_LOG_OPTIONS }],
    [['run', '--config=a.toml'], { kind: 'run', configPath: 'a.toml', ...NO_LOG_OPTIONS }],
    [
      ['--log-level', 'debug', '-c', 'a', '--log-format', 'pretty'],
      { kind: 'run', configPath: 'a', logLevel: 'debug', logFormat: 'pretty' },
    ],
    [['validate', '-c', 'a.toml'], { kind: 'validate', configPath: 'a.toml' }],
    [['validate', 'a.toml'], { kind: 'validate', configPath: 'a.toml' }],
    [['doctor'], { kind: 'doctor', configPath: null }],
    [['doctor', '-c', 'a.toml'], { kind: 'doctor', configPath: 'a.toml' }],
    [['-c', 'a.toml', 'validate'], { kind: 'validate', configPath: 'a.toml' }],
    [['demo'], { kind: 'demo', ...NO_LOG_OPTIONS }],
    [['demo', '--log-level', 'info'], { kind: 'demo', logLevel: 'info', logFormat: null }],
    [['init'], { kind: 'init', configPath: 'pgtls.toml', isForced: false }],
    [['init', 'a.toml', '--force'], { kind: 'init', configPath: 'a.toml', isForced: true }],
    [['init', '-c', 'a.toml'], { kind: 'init', configPath: 'a.toml', isForced: false }],
    [['completion', 'zsh'], { kind: 'completion', shell: 'zsh' }],
    [['-h'], { kind: 'help', topic: null }],
    [['help'], { kind: 'help', topic: null }],
    [['validate', '--help'], { kind: 'help', topic: 'validate' }],
    [['help', 'validate'], { kind: 'help', topic: 'validate' }],
    [['help', 'help'], { kind: 'help', topic: 'help' }],
    [['init', '-c', 'a', '--help', '--force'], { kind: 'help', topic: 'init' }],
    [['-v'], { kind: 'version' }],
    [['--version'], { kind: 'version' }],
  ])('%j is understood', (argv, command) => {
    expect(parseCommand(argv)).toEqual(command);
  });

  it.each([
    [[], 'no configuration file given'],
    [['validate'], 'no configuration file given'],
    [['-c', ''], 'no configuration file given'],
    [['start', '-c', 'a'], 'unknown command "start"'],
    [['validate', 'a.toml', 'b.toml'], 'unexpected argument "b.toml"'],
    [['validate', '-c', 'a.toml', 'b.toml'], 'unexpected argument "b.toml"'],
    [['init', 'a.toml', 'b.toml'], 'unexpected argument "b.toml"'],
    [['-c', 'a.toml', '--force'], '--force is for init alone'],
    [['validate', 'a', '--log-level', 'debug'], '--log-level is for run, demo alone, not for'],
    [['completion', 'bash', '-c', 'a'], '--config is for run, validate, doctor, init alone'],
    [['help', '--force'], '--force is for init alone, not for help\nSee pgtls help --help'],
    [['help', 'valdate'], 'did you mean "validate"?'],
    [['valdate', '--help'], 'did you mean "validate"?'],
    [['help', 'run', 'demo'], 'unexpected argument "demo"'],
    [['completion'], 'completion wants a shell; expected bash, zsh, fish'],
    [['completion', 'bsh'], 'did you mean "bash"?\nSee pgtls completion --help'],
    [['completion', 'tcsh'], 'completion "tcsh" is unknown'],
    [['completion', 'bash', 'zsh'], 'completion takes the name of a shell'],
    [['demo', 'a.toml'], 'unexpected argument "a.toml"'],
    [['a.toml'], '"a.toml" is no command; expected such as: pgtls -c a.toml'],
    [
      ['validat', '-c', 'a'],
      'unknown command "validat"; expected run, validate, doctor, demo, init, completion or help; did',
    ],
    [['valdate', '-c', 'a'], 'did you mean "validate"?'],
    [['--confg', 'a.toml'], 'unknown option "--confg"; did you mean "--config"?'],
    [['--loglevel', 'debug'], 'unknown option "--loglevel"; did you mean "--log-level"?'],
    [['--colour'], 'unknown option "--colour"\nSee'],
    [['-x'], 'unknown option "-x"\nSee'],
    [['demo', '-c', 'a'], 'demo takes no configuration file'],
    [['--colour'], '--colour'],
    [['-c'], '-c'],
    [['-c', 'a', '--log-level', 'loud'], '--log-level "loud" is unknown; expected trace'],
    [['-c', 'a', '--log-format', 'xml'], '--log-format "xml" is unknown; expected json, pretty'],
  ])('%j is refused', (argv, message) => {
    expect(() => parseCommand(argv)).toThrow(message);
    expect(() => parseCommand(argv)).toThrow(
      expect.objectContaining({ code: 'PGTLS_ARGUMENTS_INVALID' }),
    );
  });
});

describe('the exit code', () => {
  it('is 2 for what the user wrote, 3 for a missing binding, 1 for everything else', () => {
    const codes = Object.keys(ERROR_CODES) as PgtlsErrorCode[];
    const withExit = (exit: number) =>
      codes.filter((code) => exitCodeOf(new PgtlsError(code, '')) === exit);
    expect(withExit(2)).toEqual([
      'PGTLS_ARGUMENTS_INVALID',
      'PGTLS_CONFIG_UNREADABLE',
      'PGTLS_CONFIG_INVALID',
      'PGTLS_TLS_CONFIG_INVALID',
      'PGTLS_BIND_FAILED',
    ]);
    expect(withExit(3)).toEqual(['PGTLS_BINDING_MISSING']);
    expect(exitCodeOf(new TypeError('x'))).toBe(1);
  });
});
