import type { BuildReason, BuildRefusal, IndexBuild } from '../../postgres/builds/types.js';
import type { PostgresDatabase } from '../../postgres/database.js';
import type { ProblemStatus } from '../respond.js';
import { NO_DATABASE, problemOfDatabase, readIds } from './database-resources.js';
import type { Query } from './query.js';
import {
  AcceptedResult,
  type BodyResource,
  type ResourceFigures,
  ResourceProblem,
} from './resource-result.js';

/** `POST /indexes/optimize`: a dry run, or the ids of one to build. Names and statements never come from a request. */
export function optimizeIndexesResource(database: PostgresDatabase | undefined): BodyResource {
  return {
    method: 'POST',
    action: 'change',
    run: async (body) => {
      if (!database) return NO_DATABASE;
      const ids = readIds(body);
      if (ids instanceof ResourceProblem) return ids;
      try {
        return ids === undefined ? await previewBuilds(database) : await startBuilds(database, ids);
      } catch (error) {
        return problemOfDatabase(error);
      }
    },
  };
}

/** The states of builds, which any instance reads from the server. */
export async function readIndexBuilds(
  database: PostgresDatabase | undefined,
  { ids }: Query,
): Promise<ResourceFigures | ResourceProblem> {
  if (!database) return NO_DATABASE;
  try {
    // With one id the server looks for it alone.
    const builds = await database.indexBuilds(ids.length === 1 ? ids[0] : undefined);
    const wanted: IndexBuild[] = [];
    // One after the other: each look takes a connection of the server.
    for (const id of new Set(ids)) {
      const build = builds.find((each) => each.id === id);
      wanted.push(...(build ? [build] : await database.indexBuilds(id)));
    }
    return {
      stable: { isAllowed: database.mayBuildIndexes },
      volatile: { builds: ids.length === 0 ? builds : wanted },
    };
  } catch (error) {
    return problemOfDatabase(error);
  }
}

async function previewBuilds(database: PostgresDatabase): Promise<unknown> {
  const report = await database.indexes();
  return { dryRun: true, isAllowed: database.mayBuildIndexes, report };
}

async function startBuilds(database: PostgresDatabase, ids: readonly string[]): Promise<unknown> {
  const refusals = await database.buildIndexes(ids);
  const begun = ids.filter((id) => refusals.every((refusal) => refusal.id !== id));
  if (begun.length === 0) return problemOf(refusals);
  const query = `ids=${begun.join(',')}`;
  return new AcceptedResult(
    { dryRun: false, ids: begun, refusals, state: `/indexes/builds?${query}` },
    `builds?${query}`,
  );
}

/** A lack of rights or permission is no conflict that would go away. */
const FORBIDDEN: ReadonlySet<BuildReason> = new Set(['apply-off', 'level', 'not-owner', 'no-create-right']);

function problemOf(refusals: readonly BuildRefusal[]): ResourceProblem {
  const isForbidden = refusals.some(({ reason }) => FORBIDDEN.has(reason));
  const isUnknown = refusals.every(({ reason }) => reason === 'unknown-id');
  const status: ProblemStatus = isForbidden ? 403 : isUnknown ? 404 : 409;
  const texts = new Set(refusals.map(({ reason, detail }) => `${reason}: ${detail}`));
  return new ResourceProblem(status, [...texts].join(' '));
}
