import type { VacuumTable } from '../maintenance/figures.js';
import type { BlockFigures, ServerStatement } from '../statistics/figures.js';
import {
  codeSpan,
  type Finding,
  listEvidence,
  type ReportSection,
  type ReportSources,
  writeBytes,
  writeSeconds,
  writeShare,
} from './findings.js';
import { indexSection } from './index-section.js';

/** From this share of its connections on the server is nearly full. */
const NEARLY_FULL = 0.8;

/** Below this share of blocks in memory the memory is small for the data, once this many were read. */
const LEAST_HIT_RATIO = 0.95;
const LEAST_BLOCKS = 100_000;

/** A table that is read whole: rows, and the share of scans with an index. */
const LARGE_TABLE = 10_000;
const LEAST_INDEX_RATIO = 0.9;
const LEAST_SCANS = 100;

/** A statement that takes this share of the database's time dominates it. */
const DOMINANT_SHARE = 0.3;

/** Until a server runs out of transaction ids it has this many. */
const XID_DANGER = 1_000_000_000;

const server: ReportSection = {
  name: 'server',
  find({ statistics: { isAvailable, server: its, connections, activity } }) {
    if (!isAvailable) {
      return [
        {
          id: 'unavailable',
          level: 'critical',
          title: 'The server does not respond',
          evidence: [`The reason is \`${its.reason}\`.`],
          action: 'Find out whether the server runs, accepts connections and can be reached.',
        },
      ];
    }
    const findings: Finding[] = [];
    const { maxConnections = 0, reservedConnections = 0, xidAge = 0 } = its.value ?? {};
    const { total = 0, idle = 0, idleInTransaction = 0 } = connections.value ?? {};
    const usable = maxConnections - reservedConnections;
    if (usable > 0 && total >= NEARLY_FULL * usable) {
      findings.push({
        id: 'connections',
        level: total >= usable ? 'critical' : 'warning',
        title: 'The server is running out of connections',
        evidence: [
          `${total} of ${usable} connections are in use; ${idle} are idle, ${idleInTransaction} idle in a transaction.`,
        ],
        action: 'Make pools smaller, end idle sessions, or put PgBouncer in between.',
      });
    }
    if (xidAge > XID_DANGER) {
      findings.push({
        id: 'wraparound',
        level: 'critical',
        title: 'Transaction ids are running out',
        evidence: [
          `The oldest transaction id is ${xidAge} transactions old; at 2 billion the server stops writing.`,
        ],
        action:
          'End old transactions and prepared transactions, then run VACUUM FREEZE on the oldest tables.',
      });
    }
    const { deadlocks = 0, tempBytes = 0, tempFiles = 0, sizeBytes = 0 } = activity.value ?? {};
    if (deadlocks > 0) {
      findings.push({
        id: 'deadlocks',
        level: 'notice',
        title: 'Transactions lock each other out',
        evidence: [`${deadlocks} deadlocks since the counters were reset.`],
        action: 'Take locks in the same order in every transaction, such as rows by their key.',
      });
    }
    if (tempBytes > sizeBytes && tempFiles > 0) {
      findings.push({
        id: 'temporary-files',
        level: 'notice',
        title: 'Sorts and hashes do not fit in memory',
        evidence: [
          `${tempFiles} temporary files with ${writeBytes(tempBytes)} since the counters were reset.`,
        ],
        action: 'Raise work_mem for the role or the statement, or sort fewer rows.',
      });
    }
    return findings;
  },
};

const locks: ReportSection = {
  name: 'locks',
  find({ statistics: { blockedSessions, longTransactions } }) {
    const findings: Finding[] = [];
    const blocked = blockedSessions.value ?? [];
    if (blocked.length > 0) {
      findings.push({
        id: 'blocked-sessions',
        level: blocked.some(({ seconds }) => seconds > 10) ? 'critical' : 'warning',
        title: 'Sessions wait for locks of others',
        evidence: listEvidence(blocked, ({ pid, seconds, table, lock, text, blockers }) => {
          const by = blockers.map((each) => `${each.pid} (${each.state ?? 'hidden'})`).join(', ');
          const on = table === null ? '' : ` on ${codeSpan(table)}`;
          return `${pid} has waited ${writeSeconds(seconds)} for a ${lock ?? 'lock'}${on}, for ${by}: ${codeSpan(text)}.`;
        }),
        action:
          'End the transactions that block, with pg_terminate_backend(pid) at need, and keep transactions short.',
      });
    }
    const idle = (longTransactions.value ?? []).filter(({ state }) => state?.startsWith('idle in'));
    const long = (longTransactions.value ?? []).filter((each) => !idle.includes(each));
    const describe = ({ pid, transactionSeconds, text, applicationName }: (typeof long)[number]) =>
      `${pid} ${codeSpan(applicationName)}: open for ${writeSeconds(transactionSeconds ?? 0)}, last ${codeSpan(text)}.`;
    if (idle.length > 0) {
      findings.push({
        id: 'idle-in-transaction',
        level: 'warning',
        title: 'Transactions are open and do nothing',
        evidence: listEvidence(idle, describe),
        action:
          'Commit before other work, and set idle_in_transaction_session_timeout. They keep VACUUM from removing rows.',
      });
    }
    if (long.length > 0) {
      findings.push({
        id: 'long-transactions',
        level: 'notice',
        title: 'Transactions run for more than a minute',
        evidence: listEvidence(long, describe),
        action: 'Split the work, or run reports on a replica.',
      });
    }
    return findings;
  },
};

const pool: ReportSection = {
  name: 'pool',
  find({ pool: advice, monitor }) {
    const findings: Finding[] = [];
    const { verdict, size, suggested, reasoning } = advice;
    if (verdict === 'grow' || verdict === 'shrink' || verdict === 'server-limit') {
      findings.push({
        id: 'pool-size',
        level: verdict === 'shrink' ? 'notice' : 'warning',
        title:
          verdict === 'shrink'
            ? 'The pool is larger than it needs to be'
            : 'The pool is too small for its load',
        evidence: reasoning.slice(0, -1),
        action: `${reasoning.at(-1)} Now ${size ?? 'unknown'}, suggested ${suggested} for each instance.`,
      });
    }
    const leaks = monitor?.pool.leakSuspects ?? [];
    if (leaks.length > 0) {
      findings.push({
        id: 'leaks',
        level: 'critical',
        title: 'Connections are taken and not released',
        evidence: listEvidence(leaks, ({ seconds, place, route }) => {
          const where = [place, route]
            .filter((each) => each !== null)
            .map(codeSpan)
            .join(', ');
          return `Out for ${writeSeconds(seconds)}: ${where || 'place unknown'}.`;
        }),
        action: 'Release the client in a `finally` block, or use pool.query().',
      });
    }
    return findings;
  },
};

const statements: ReportSection = {
  name: 'statements',
  find({ statistics, monitor }) {
    const findings: Finding[] = [];
    const window = statistics.statements.value;
    const dominant = (window?.statements ?? []).filter(
      ({ seconds, calls }) => window!.seconds > 1 && seconds >= DOMINANT_SHARE * window!.seconds && calls > 1,
    );
    if (dominant.length > 0) {
      findings.push({
        id: 'dominant-statements',
        level: 'warning',
        title: 'Few statements take most of the time',
        evidence: listEvidence(dominant, (each: ServerStatement) => {
          const share = writeShare(each.seconds / window!.seconds);
          return `${share} of the time: ${each.calls} calls of ${writeSeconds(each.meanSeconds)}: ${codeSpan(each.text)}.`;
        }),
        action: 'Look at their plans with EXPLAIN (ANALYZE, BUFFERS), add an index, or cache their results.',
      });
    }
    if ((window?.dropped ?? 0) > 0) {
      findings.push({
        id: 'dropped-statements',
        level: 'notice',
        title: 'The server has dropped statements from its statistics',
        evidence: [`pg_stat_statements dropped its least used statements ${window!.dropped} times.`],
        action: 'Raise pg_stat_statements.max, and use parameters in place of literals.',
      });
    }
    const slow = monitor?.slowQueries ?? [];
    if (slow.length > 0) {
      findings.push({
        id: 'slow-queries',
        level: 'warning',
        title: 'Queries are slow',
        evidence: listEvidence(slow, ({ seconds, text, route }) => {
          const from = route === null ? '' : ` on ${codeSpan(route)}`;
          return `${writeSeconds(seconds)}${from}: ${codeSpan(text)}.`;
        }),
        action: 'Look at their plans with EXPLAIN (ANALYZE, BUFFERS).',
      });
    }
    const repeated = monitor?.nPlusOne ?? [];
    if (repeated.length > 0) {
      findings.push({
        id: 'n-plus-one',
        level: 'warning',
        title: 'Requests run one statement again and again (N+1)',
        evidence: listEvidence(repeated, ({ route, queries, text, place }) => {
          const at = place === undefined || place === null ? '' : `, at ${codeSpan(place)}`;
          return `${codeSpan(route ?? 'unmatched')}: ${queries} times ${codeSpan(text)}${at}.`;
        }),
        action: 'Read all rows with one statement: a join, or WHERE id = ANY ($1).',
      });
    }
    return findings;
  },
};

const tables: ReportSection = {
  name: 'tables',
  find({ statistics: { tables: listed, buffers } }) {
    const findings: Finding[] = [];
    const scanned = (listed.value ?? []).filter(
      ({ liveTuples, seqScans, indexScanRatio }) =>
        liveTuples >= LARGE_TABLE && seqScans >= LEAST_SCANS && (indexScanRatio ?? 0) < LEAST_INDEX_RATIO,
    );
    if (scanned.length > 0) {
      findings.push({
        id: 'sequential-scans',
        level: 'warning',
        title: 'Large tables are read whole',
        evidence: listEvidence(
          scanned,
          ({ schema, table, seqScans, seqTuplesRead, liveTuples, indexScanRatio }) => {
            const rows = Math.round(seqTuplesRead / seqScans);
            const share = writeShare(1 - (indexScanRatio ?? 0));
            return `${codeSpan(`${schema}.${table}`)}: ${seqScans} scans of ${rows} rows each, ${share} of all scans; it has ${liveTuples} rows.`;
          },
        ),
        action: 'Add an index for the conditions of these queries.',
      });
    }
    const small = Object.entries(buffers.value ?? {}).filter(
      ([, { hit, read, hitRatio }]: [string, BlockFigures]) =>
        hit + read >= LEAST_BLOCKS && (hitRatio ?? 1) < LEAST_HIT_RATIO,
    );
    if (small.length > 0) {
      findings.push({
        id: 'buffer-cache',
        level: 'notice',
        title: 'The memory of the server is small for the data that is read',
        evidence: small.map(
          ([kind, { hitRatio, read }]) =>
            `${writeShare(hitRatio ?? 0)} of the ${kind} blocks were in shared_buffers; ${read} were not.`,
        ),
        action: 'Read fewer rows (indexes, smaller results), or raise shared_buffers.',
      });
    }
    return findings;
  },
};

const nameOf = (item: { schema: string; table: string }) => codeSpan(`${item.schema}.${item.table}`);

function describeVacuum(table: VacuumTable): string {
  const { cause, liveTuples, deadTuples, threshold, isAutovacuumOff } = table;
  const reason =
    cause === 'inserts'
      ? `many of its ${liveTuples} rows are newer than its last VACUUM, so index-only scans read it too`
      : `${deadTuples} dead rows beside ${liveTuples}; autovacuum begins at ${Math.round(threshold)}`;
  return `${nameOf(table)}: ${reason}.${isAutovacuumOff ? ' Autovacuum is off.' : ''}`;
}

const maintenance: ReportSection = {
  name: 'maintenance',
  find({ maintenance: lists }: ReportSources) {
    const findings: Finding[] = [];
    const stale = lists.staleTables.value ?? [];
    if (stale.length > 0) {
      findings.push({
        id: 'stale-statistics',
        level: 'warning',
        title: 'The planner works with old statistics',
        evidence: listEvidence(stale, (each) =>
          each.cause === 'never-analyzed'
            ? `${nameOf(each)} with ${each.liveTuples} rows was never analyzed.`
            : `${nameOf(each)}: ${each.modifiedSinceAnalyze} changes since the last ANALYZE, of ${each.liveTuples} rows.`,
        ),
        action: 'Run ANALYZE: POST /maintenance/analyze of the performance API does.',
      });
    }
    const freeze = (lists.vacuumTables.value ?? []).filter(({ cause }) => cause === 'freeze');
    const dead = (lists.vacuumTables.value ?? []).filter(({ cause }) => cause !== 'freeze');
    if (freeze.length > 0) {
      findings.push({
        id: 'freeze',
        level: 'warning',
        title: 'Tables have to be frozen soon',
        evidence: listEvidence(
          freeze,
          (each) => `${nameOf(each)}: its oldest transaction id is ${each.xidAge} old.`,
        ),
        action: 'Run VACUUM (FREEZE) at a quiet time, before autovacuum does it at a busy one.',
      });
    }
    if (dead.length > 0) {
      findings.push({
        id: 'vacuum',
        level: 'notice',
        title: 'Tables want VACUUM',
        evidence: listEvidence(dead, describeVacuum),
        action: 'Let autovacuum run more often (autovacuum_vacuum_scale_factor), or run VACUUM.',
      });
    }
    const invalid = lists.invalidIndexes.value ?? [];
    if (invalid.length > 0) {
      findings.push({
        id: 'invalid-indexes',
        level: 'warning',
        title: 'Indexes are invalid',
        evidence: listEvidence(invalid, (each) => {
          const cost = each.isReady ? 'each write maintains it, and ' : '';
          return `${codeSpan(each.index)} on ${nameOf(each)}, ${writeBytes(each.bytes)}: ${cost}no query uses it.`;
        }),
        action: 'DROP INDEX CONCURRENTLY, then build it again. Look first whether a build still runs.',
      });
    }
    const bloated = lists.bloatedIndexes.value ?? [];
    if (bloated.length > 0) {
      findings.push({
        id: 'bloated-indexes',
        level: 'notice',
        title: 'Indexes are much larger than their rows need',
        evidence: listEvidence(
          bloated,
          (each) =>
            `${codeSpan(each.index)} on ${nameOf(each)}: ${writeBytes(each.bytes)}, of which about ${writeShare(each.bloatRatio)} is empty.`,
        ),
        action: 'REINDEX INDEX CONCURRENTLY rebuilds an index without blocking writes.',
      });
    }
    return findings;
  },
};

/** The parts of the report. */
export const REPORT_SECTIONS: readonly ReportSection[] = [
  server,
  locks,
  pool,
  statements,
  tables,
  indexSection,
  maintenance,
];
