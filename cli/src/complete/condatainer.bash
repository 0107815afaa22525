# What the Tab key offers after `condatainer` in bash.
_condatainer() {
    # The words of the line up to the cursor. bash has split them at : and = too: what no blank separates is put together again.
    local rest=${COMP_LINE:0:COMP_POINT} words=() piece before
    for piece in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        before=${rest%%[![:blank:]]*}
        rest=${rest#"$before"}
        [[ ${#words[@]} -eq 0 || -n $before ]] && words+=("")
        [[ $rest == "$piece"* ]] || piece=$rest
        words[${#words[@]}-1]+=$piece
        rest=${rest#"$piece"}
    done
    local IFS=$'\013' space=true offered
    compopt +o nospace 2> /dev/null && space=false
    offered=$(
        _CLAP_IFS="$IFS" _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
            _CLAP_COMPLETE_SPACE=$space CONDATAINER_COMPLETE=bash condatainer -- "${words[@]}"
    ) || { COMPREPLY=(); return; }
    COMPREPLY=($offered)
    # bash puts in only what follows the last of its separators.
    local word=${words[-1]} separators=
    [[ $COMP_WORDBREAKS == *:* ]] && separators+=:
    [[ $COMP_WORDBREAKS == *=* ]] && separators+==
    [[ -n $separators && $word == *[$separators]* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[$separators]}"}"}")
    if [[ $space == false && ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace
    fi
}
complete -o nospace -o bashdefault -o nosort -F _condatainer condatainer 2> /dev/null ||
    complete -o nospace -o bashdefault -F _condatainer condatainer
