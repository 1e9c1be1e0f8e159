import { parseArgs } from 'node:util';
import { VARIABLES } from '../config/env.ts';
import { explain } from './explain.ts';

/** A command of `npm run`: it takes `--help`, perhaps switches, and perhaps one argument, which it wants then. */
export interface Command<Switch extends string> {
  readonly help: string;
  readonly switches?: readonly Switch[];
  /** What the one argument is called. */
  readonly argument?: string;
  /** @param argument empty unless there is to be one */
  run(switches: ReadonlySet<string>, argument: string): Promise<void>;
}

/** Runs a command. Help goes to standard output; a failure is one message on standard error, with exit code 1. */
export function runCommand<Switch extends string>({ help, switches = [], argument, run }: Command<Switch>): void {
  start().catch((error: unknown) => {
    console.error(explain(error));
    process.exit(1);
  });

  async function start(): Promise<void> {
    const names = [...switches, 'help'];
    const options = Object.fromEntries(
      names.map((name) => [name, { type: 'boolean' as const, ...(name === 'help' ? { short: 'h' } : {}) }]),
    );
    const { values, positionals } = parsed(options, argument !== undefined);
    if (values.help === true) {
      console.log(help);
      return;
    }
    const [given = '', ...more] = positionals;
    if (argument !== undefined && (given === '' || more.length > 0))
      throw new Error(`It wants one argument, <${argument}>. --help says what there is.`);
    await run(new Set(names.filter((name) => values[name] === true)), given);
  }
}

type Options = Record<string, { type: 'boolean'; short?: string }>;

/** @throws {Error} that says what to do instead, if an argument is none of the options */
function parsed(options: Options, allowPositionals: boolean) {
  try {
    return parseArgs({ options, allowPositionals });
  } catch (error) {
    const [, flag = ''] = /'(--?[\w-]+)/.exec(error instanceof Error ? error.message : '') ?? [];
    const name = flag.replace(/^-+/, '').replaceAll('-', '_').toUpperCase();
    const known = VARIABLES.includes(name) ? ` Set the variable ${name}, in the environment or in .env.` : '';
    const what = flag === '' ? 'There are no arguments, only options' : `There is no option ${flag}`;
    throw new Error(`${what}.${known} --help says what there is.`, { cause: error });
  }
}
