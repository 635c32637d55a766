#!/usr/bin/perl
# DBD::Pg: server-side prepared statements, transactions, COPY, errors, cancel, large objects.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types);

my ($port, $database, $table) = @ARGV;
my $db = DBI->connect("dbi:Pg:host=127.0.0.1;port=$port;dbname=$database", 'app', 'secret',
    { RaiseError => 1, PrintError => 0, AutoCommit => 1 });

sub expect {
    my ($what, $expected, $got) = @_;
    $got = defined $got ? $got : 'NULL';
    die "$what: expected $expected, got $got\n" if $expected ne $got;
}

sub refused {
    my ($what, $state, $code) = @_;
    eval { $code->(); 1 } and die "$what: no error\n";
    expect($what, $state, $db->state);
}

my $insert = $db->prepare("INSERT INTO $table VALUES (?, ?, ?, ?, ?, ?)");
for my $i (1 .. 20) {
    $insert->bind_param(1, $i);
    $insert->bind_param(2, "thing $i");
    $insert->bind_param(3, $i / 4);
    $insert->bind_param(4, $i % 2 ? 'f' : 't');
    $insert->bind_param(5, chr($i) . "\0\xff", { pg_type => PG_BYTEA });
    $insert->bind_param(6, ['a', 'q"', undef]);
    expect('inserted', 1, $insert->execute);
}
my $select = $db->prepare("SELECT name, price, ok, tags FROM $table WHERE id = ?");
for my $i (1 .. 20) {
    $select->execute($i);
    my ($name, $price, $ok, $tags) = $select->fetchrow_array;
    expect('name', "thing $i", $name);
    expect('price', sprintf('%.2f', $i / 4), $price);
    expect('tags', 'q"', $tags->[1]);
    $select->finish;
}
$db->begin_work;
$db->do("UPDATE $table SET name = 'gone' WHERE id = 1");
$db->rollback;
$db->begin_work;
$db->do("UPDATE $table SET name = 'kept' WHERE id = 2");
$db->pg_savepoint('s');
refused('duplicate', '23505', sub { $db->do("INSERT INTO $table (id) VALUES (2)") });
$db->pg_rollback_to('s');
$db->commit;
expect('rolled back', 'thing 1', $db->selectrow_array("SELECT name FROM $table WHERE id = 1"));
expect('committed', 'kept', $db->selectrow_array("SELECT name FROM $table WHERE id = 2"));
refused('division', '22012', sub { $db->do('SELECT 1 / 0') });

$db->do("COPY $table (id, name) FROM STDIN");
$db->pg_putcopydata("$_\tcopied\n") for 100 .. 199;
$db->pg_putcopyend;
$db->do("COPY (SELECT id FROM $table WHERE id >= 100) TO STDOUT");
my ($line, $lines) = ('', 0);
$lines++ while $db->pg_getcopydata($line) >= 0;
expect('lines', 100, $lines);

$db->do('SELECT pg_sleep(30)', { pg_async => PG_ASYNC });
select(undef, undef, undef, 0.3);
$db->pg_cancel;
expect('goes on', 1, $db->selectrow_array('SELECT 1'));

if (($ENV{SHARDED} // '') ne '1') {
    $db->begin_work;
    my $oid = $db->pg_lo_creat($db->{pg_INV_WRITE});
    my $fd = $db->pg_lo_open($oid, $db->{pg_INV_WRITE});
    $db->pg_lo_write($fd, 'large', 5);
    $db->pg_lo_lseek($fd, 0, 0);
    my $text = '';
    expect('large object', 5, $db->pg_lo_read($fd, $text, 5));
    expect('its bytes', 'large', $text);
    $db->pg_lo_close($fd);
    $db->pg_lo_unlink($oid);
    $db->commit;
}
expect('deleted', 2, $db->do("DELETE FROM $table WHERE id IN (?, ?)", undef, 1, 2));
$db->disconnect;
