# Holds a fuse2fs, and all of its threads, once a task has written by it, and writes its number to `held`. Only SIGKILL ends it then.
use strict;
chomp(my $machine = `uname -m`);
my ($ptrace, $seize, $interrupt, $any_thread) = ($machine eq 'x86_64' ? 101 : 117, 0x4206, 0x4207, 0x40000000);
sub trace { syscall($ptrace, $_[0], $_[1], 0, 0) == 0 or die "ptrace: $!" }
my ($process, %held);
sleep 1 until -e 'there' and ($process) = `pgrep -x fuse2fs` =~ /^(\d+)$/;
# A thread that is not held yet may start another one.
while (my @new = grep { !$held{$_} } map { m{(\d+)$} } glob "/proc/$process/task/*") {
    for my $thread (@new) {
        trace($seize, $thread + 0);
        trace($interrupt, $thread + 0);
        waitpid $thread, $any_thread;
        $held{$thread} = 1;
    }
}
open my $held, '>', 'held' or die $!;
print $held $process;
close $held;
1 while waitpid(-1, $any_thread) > 0;
