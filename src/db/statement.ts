import { InvariantError } from '../errors.ts';
import { ofOneMerchant, onCitus, routed } from './backend.ts';
import { binaryArray } from './binary.ts';
import type { Codec } from './codec.ts';
import { columnName, type Row, rowReader, type Shape } from './table.ts';
import type { Queryable } from './transaction.ts';

/** Parameters by name. They become `$1`, `$2` … in the order in which they are declared. */
export type Parameters = Readonly<Record<string, Codec<unknown> | RowsParameter<Shape>>>;

/** Many rows as one parameter, of any number: one array for each column, so that the statement's text is always the same. */
export interface RowsParameter<Columns extends Shape> {
  readonly rowsOf: Columns;
}

/** A parameter of many rows. Each column of the shape becomes an array of its own. */
export function rowsOf<Columns extends Shape>(shape: Columns): RowsParameter<Columns> {
  return { rowsOf: shape };
}

/** What a statement is run with. */
type Values<Declared extends Parameters> = {
  readonly [Name in keyof Declared]: Declared[Name] extends RowsParameter<infer Columns>
    ? readonly Row<Columns>[]
    : Declared[Name] extends Codec<infer Value>
      ? Value
      : never;
};

/** What rows have beside their own columns. */
interface RowsWith {
  /**
   * The place of the merchant whose rows they are, which becomes their first column, `merchant_id`. Joined by it, a table is
   * read key by key along its index. With the merchant as a condition of its own, a plan that was made while he had few rows
   * would go on reading all that he has.
   */
  readonly merchantId?: string;
  /** The name of a last column for their position, from 1. */
  readonly position?: string;
}

/** How the text names its parameters: a value by itself, rows as something to select from under an alias. */
type Places<Declared extends Parameters> = {
  readonly [Name in keyof Declared]: Declared[Name] extends RowsParameter<Shape>
    ? (alias: string, extra?: RowsWith) => string
    : string;
};

export interface StatementDeclaration<Declared extends Parameters, Columns extends Shape> {
  /** Prepared under this name, so that a connection keeps its plan; for what runs often. */
  readonly name?: string;
  readonly params: Declared;
  /** What it returns; nothing for a statement that only writes. */
  readonly row?: Columns;
  readonly text: (places: Places<Declared>) => string;
  /** What it is on Citus, which cannot do it so for several merchants at once. */
  readonly textOnCitus?: (places: Places<Declared>) => string;
  /** Why it does not name one merchant as a parameter, as every other statement on merchants' tables does. */
  readonly acrossMerchants?: string;
}

type Given<Declared extends Parameters> = keyof Declared extends never ? [] : [values: Values<Declared>];

/**
 * One statement of the program, with the types of what goes in and what comes out. Its methods throw what the database throws,
 * and an InvariantError for rows that are not as declared.
 */
export interface Statement<Declared extends Parameters, Columns extends Shape> {
  all(db: Queryable, ...given: Given<Declared>): Promise<Row<Columns>[]>;
  /** The first row, or null if there is none. */
  first(db: Queryable, ...given: Given<Declared>): Promise<Row<Columns> | null>;
  /** The only row of a statement that always has one, such as a count. @throws {InvariantError} if it has none */
  one(db: Queryable, ...given: Given<Declared>): Promise<Row<Columns>>;
  /** The rows of one merchant, of a statement that reads those of all: on Citus, which cannot do for several what is not simple. */
  ofMerchant(db: Queryable, merchantId: string, ...given: Given<Declared>): Promise<Row<Columns>[]>;
  /** How many rows it wrote, or returned. */
  run(db: Queryable, ...given: Given<Declared>): Promise<number>;
}

/** What a test can compare with the database. */
export interface DeclaredStatement {
  readonly name: string | null;
  readonly text: string;
  /** The types of `$1`, `$2` … */
  readonly parameterTypes: readonly string[];
  readonly row: Shape;
  /** Whether it names a merchant as a parameter: as a value, not as one of many. */
  readonly namesMerchant: boolean;
  readonly textOnCitus: string;
  readonly acrossMerchants: string | null;
}

const STATEMENTS: DeclaredStatement[] = [];

/** Every statement that was declared so far; for the test that has the database prepare them. */
export function declaredStatements(): readonly DeclaredStatement[] {
  return STATEMENTS;
}

/**
 * Declares a statement, at the top level of a module. All SQL of the program is declared so, except what belongs to the
 * connection itself (transactions, migrations, roles, pg-boss' own); the test of the statements knows those places.
 *
 * What it costs: the same ledger with arrays and rows written by hand, in turns of 2 s on a busy machine (six workloads of
 * postings and reads, eight pairs each), was as fast: 0.90 to 1.30 of its rate, 0.99 in the middle, at 1.04 of its CPU time.
 */
export function statement<Declared extends Parameters, Columns extends Shape = Record<never, Codec<unknown>>>(
  declaration: StatementDeclaration<Declared, Columns>,
): Statement<Declared, Columns> {
  const { name, params, acrossMerchants = null } = declaration;
  const row: Shape = declaration.row ?? {};
  const { places, encoders, types } = placesOf(params, inSelectList);
  const onNodes = placesOf(params, inFrom).places as Places<Declared>;
  const text = declaration.text(places as Places<Declared>);
  const namesMerchant = 'merchantId' in params && !isRows(params.merchantId);
  const merchantPlace = namesMerchant ? String(places.merchantId) : null;
  const textOnCitus = routed((declaration.textOnCitus ?? declaration.text)(onNodes), merchantPlace);
  STATEMENTS.push({
    name: name ?? null,
    text,
    parameterTypes: types,
    row,
    namesMerchant,
    textOnCitus,
    acrossMerchants,
  });
  const sql = name === undefined ? text : { name, text };
  const sqlOnCitus = name === undefined ? textOnCitus : { name, text: textOnCitus };
  const read = rowReader(row);
  const query = async (db: Queryable, given: Given<Declared>) => {
    const values: Readonly<Record<string, unknown>> = given[0] ?? {};
    return db.queryArrays(
      onCitus() ? sqlOnCitus : sql,
      encoders.map((encode) => encode(values)),
    );
  };
  const all = async (db: Queryable, ...given: Given<Declared>) => {
    const { rows } = await query(db, given);
    return rows.map(read) as Row<Columns>[];
  };
  const first = async (db: Queryable, ...given: Given<Declared>) => (await all(db, ...given))[0] ?? null;
  return {
    all,
    first,
    one: async (db, ...given) => {
      const row = await first(db, ...given);
      if (row === null) throw new InvariantError('no row from a statement that always has one');
      return row;
    },
    ofMerchant: async (db, merchantId, ...given) => {
      const own = ofOneMerchant(textOnCitus, `$${types.length + 1}`);
      const values: Readonly<Record<string, unknown>> = given[0] ?? {};
      const { rows } = await db.queryArrays(own, [...encoders.map((encode) => encode(values)), merchantId]);
      return rows.map(read) as Row<Columns>[];
    },
    run: async (db, ...given) => (await query(db, given)).rowCount ?? 0,
  };
}

type Encoder = (values: Readonly<Record<string, unknown>>) => unknown;

/** Arrays, each with the name of its column, as rows under an alias. */
type ArraysAsRows = (
  arrays: readonly string[],
  names: readonly string[],
  rowsAs: RowsWith & { readonly alias: string },
) => string;

function placesOf(params: Parameters, asRows: ArraysAsRows) {
  const places: Record<string, string | ((alias: string, extra?: RowsWith) => string)> = {};
  const encoders: Encoder[] = [];
  const types: string[] = [];
  for (const [name, declared] of Object.entries(params)) {
    if (isRows(declared)) {
      const first = types.length + 1;
      const arrays = Object.values(declared.rowsOf).map(({ type }, index) => `$${first + index}::${type}[]`);
      const names = Object.entries(declared.rowsOf).map(([field, codec]) => columnName(field, codec));
      places[name] = (alias, extra) => asRows(arrays, names, { ...extra, alias });
      for (const [field, codec] of Object.entries(declared.rowsOf)) {
        // unnest would take an array of arrays apart to its last element.
        if (codec.type.endsWith('[]')) throw new InvariantError(`${columnName(field, codec)} is an array of many rows`);
        encoders.push((values) => column(values[name], field, codec));
        types.push(`${codec.type}[]`);
      }
    } else {
      encoders.push((values) => declared.encode(values[name]));
      types.push(declared.type);
      places[name] = `$${types.length}`;
    }
  }
  return { places, encoders, types };
}

/**
 * Each array is unnested in the list of results. As one function of FROM, Postgres would keep all values in a store for each array before it reads a
 * row: 0.94 to 0.98 of its CPU a debit, in batches of 1, 4, 16, 64 and 250 (25 pairs of blocks each).
 */
const inSelectList: ArraysAsRows = (arrays, names, { alias, merchantId, position }) => {
  const given = arrays.map((array, index) => `unnest(${array}) as ${names[index]}`);
  const places = position === undefined ? [] : [`generate_subscripts(${arrays[0]}, 1)::bigint as ${position}`];
  const merchant = merchantId === undefined ? [] : [`${merchantId}::text as merchant_id`];
  // OFFSET keeps the planner from making a condition of the merchant again.
  return `(select ${[...merchant, ...given, ...places].join(', ')}${merchantId === undefined ? '' : ' offset 0'}) as ${alias}`;
};

/** The same for Citus, which looks for functions in FROM when it decides where a statement goes. */
const inFrom: ArraysAsRows = (arrays, names, { alias, merchantId, position }) => {
  const given = position === undefined ? names : [...names, position];
  const rows = `unnest(${arrays.join(', ')})${position === undefined ? '' : ' with ordinality'} as ${alias} (${given.join(', ')})`;
  return merchantId === undefined
    ? rows
    : `(select ${merchantId}::text as merchant_id, ${alias}.* from ${rows} offset 0) as ${alias}`;
};

function isRows(declared: Parameters[string] | undefined): declared is RowsParameter<Shape> {
  return declared !== undefined && 'rowsOf' in declared;
}

function column(given: unknown, field: string, codec: Codec<unknown>): unknown {
  const rows = given as Readonly<Record<string, unknown>>[];
  return codec.binary === null ? rows.map((row) => codec.encode(row[field])) : binaryArray(codec.binary, rows, field);
}
