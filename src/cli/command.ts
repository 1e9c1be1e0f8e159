import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { Merchant } from '../merchants/merchant-store.ts';
import { CliContext } from './context.ts';
import { print, printJson } from './output.ts';

/**
 * A command as data, as routes are: what it takes, what it does. Declaration with commander, its help and the validation
 * of what was written are all made from this.
 */
export interface CommandSpec<Takes extends Parameters> {
  readonly name: string;
  /** A line for the list of commands, without a full stop. */
  readonly summary: string;
  /** More for its own help. */
  readonly details?: string;
  readonly takes: Takes;
  run(input: InputOf<Takes>, context: CliContext): Promise<Result>;
}

export interface MerchantCommandSpec<Takes extends Parameters> extends Omit<CommandSpec<Takes>, 'run'> {
  run(input: InputOf<Takes>, context: CliContext, merchant: Merchant): Promise<Result>;
}

/** An argument (`<name>`) or an option (`--name <text>`), and what it must be; it is wanted unless the schema takes nothing. */
export interface Parameter<Schema extends z.ZodType = z.ZodType> {
  readonly flags: string;
  readonly description: string;
  readonly schema: Schema;
}

type Parameters = Readonly<Record<string, Parameter>>;
type InputOf<Takes extends Parameters> = { readonly [Name in keyof Takes]: z.output<Takes[Name]['schema']> };

export interface Result {
  /** What `--json` prints. */
  readonly json: unknown;
  /** What people read. */
  readonly text: string;
  /** The command did its work and found something that wants attention; it exits with 1. */
  readonly isFailure?: boolean;
}

/** It was called in a way that makes no sense, which the schemas cannot see. It exits with 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** A parameter of a command: its flags as commander writes them, its help, and the schema that parses it. */
export function takes<Schema extends z.ZodType>(flags: string, description: string, schema: Schema): Parameter<Schema> {
  return { flags, description, schema };
}

/** An option without a value. */
export function flag(flags: string, description: string) {
  return takes(flags, description, z.boolean().default(false));
}

/**
 * Adds a command that reads its parameters, runs, and prints text or, with `--json`, JSON. Exits with 1 if the
 * result is a failure, with 2 on wrong use.
 */
export function addCommand<Takes extends Parameters>(group: Command, spec: CommandSpec<Takes>): void {
  const command = group.command(spec.name).summary(spec.summary);
  command.description(spec.details === undefined ? `${spec.summary}.` : `${spec.summary}. ${spec.details}`);
  const parameters = Object.values(spec.takes);
  for (const parameter of parameters) declare(command, parameter);
  const wanted = parameters.filter((one) => !isArgument(one) && isWanted(one)).map(({ flags }) => flags);
  const named = parameters.filter(isArgument).map(({ flags }) => flags);
  command.usage([...named, ...wanted, '[options]'].join(' '));
  command.option('--json', 'print the result as JSON');
  command.action(async () => {
    const input = read(command, spec.takes);
    const context = await CliContext.open();
    try {
      const result = await spec.run(input, context);
      if (command.opts().json === true) printJson(result.json);
      else print(result.text);
      if (result.isFailure === true) process.exitCode = 1;
    } catch (error) {
      throw error instanceof UsageError ? command.error(`error: ${error.message}`) : error;
    } finally {
      await context.close();
    }
  });
}

const merchantOption = takes(
  '--merchant <id>',
  'whose they are (default: MERCHANT_ID, or bus_default)',
  z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'wants the id of a merchant')
    .optional(),
);

/** A command about what one merchant has. */
export function addMerchantCommand<Takes extends Parameters>(group: Command, spec: MerchantCommandSpec<Takes>): void {
  addCommand(group, {
    ...spec,
    takes: { ...spec.takes, merchant: merchantOption },
    run: async (input, context) => spec.run(input, context, await context.merchant(input.merchant)),
  });
}

function isArgument({ flags }: Parameter): boolean {
  return !flags.startsWith('-');
}

/** Whether it must be written. */
function isWanted({ schema }: Parameter): boolean {
  return !schema.safeParse(undefined).success;
}

/**
 * Whether what is wanted was written is looked at when it is read: commander looks before it knows of misspelt options, and would
 * say that `--customer` is missing where `--custmer` was written.
 */
function declare(command: Command, parameter: Parameter): void {
  const { flags, description } = parameter;
  if (isArgument(parameter)) {
    command.argument(flags, description);
    return;
  }
  const option = new Option(flags, isWanted(parameter) ? `${description} (required)` : description);
  if (option.required) {
    option.argParser((value: string) => {
      // A variable of the shell that is empty leaves no word, and the next option would be taken for the value.
      if (!command.options.some(({ long }) => long === value)) return value;
      return command.error(
        `error: ${option.long}: wants ${placeOf(flags)}; ${value} follows it (is a variable empty?)`,
      );
    });
  }
  command.addOption(option);
}

/** `an id` for `--customer <id>`. */
function placeOf(flags: string): string {
  const [, name = 'value'] = /<(.+)>/.exec(flags) ?? [];
  return `${/^[aeiou]/.test(name) ? 'an' : 'a'} ${name}`;
}

/** What was written, checked; a mistake ends the command. */
function read<Takes extends Parameters>(command: Command, parameters: Takes): InputOf<Takes> {
  const written: unknown[] = [...command.processedArgs];
  const options: Readonly<Record<string, unknown>> = command.opts();
  const input: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    const value = isArgument(parameter)
      ? written.shift()
      : options[new Option(parameter.flags, parameter.description).attributeName()];
    if (value === undefined && isWanted(parameter)) {
      command.error(`error: required option '${parameter.flags}' not specified`);
    }
    const parsed = parameter.schema.safeParse(value);
    if (!parsed.success) {
      const wanted = parsed.error.issues[0]?.message ?? 'is not usable';
      command.error(`error: ${parameter.flags.split(' ', 1)[0]}: ${wanted}`);
    }
    input[name] = parsed.data;
  }
  // Each value came from the schema of its name.
  return input as InputOf<Takes>;
}
