import { declaredStatements } from '../../src/db/statement.ts';
import type { TestDatabase } from './database.ts';

/** Plans that are kept with a name: those for any values, as the pool asks for them (src/db/pool.ts). */

export interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'TID Cond'?: string;
  readonly 'Actual Loops'?: number;
  readonly 'Actual Rows'?: number;
  readonly Plans?: readonly PlanNode[];
}

export interface Explained {
  readonly 'QUERY PLAN': readonly { readonly Plan: PlanNode }[];
}

export const within = (node: PlanNode): readonly PlanNode[] => [node, ...(node.Plans ?? []).flatMap(within)];

/** What the plan of a statement is made of that is kept. Its module must be loaded. */
export async function keptPlan({ pool }: Pick<TestDatabase, 'pool'>, name: string): Promise<readonly PlanNode[]> {
  const declared = declaredStatements().find((one) => one.name === name);
  const { rows } = await pool.query<Explained>(`explain (generic_plan, format json) ${declared?.text}`);
  const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
  return plan === undefined ? [] : within(plan);
}
